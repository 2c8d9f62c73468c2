import { FAULT_POINTS, type FaultPoint } from '../../src/observability/fault-points.js';
import type { StoreName } from '../support/stores.js';
import { Random } from './random.js';

/** What is done to a registry under load. */
export type Kill =
  /** The service dies at a fault point, alone or with its database. */
  | { kind: 'at'; point: FaultPoint; nth: number; dies: 'service' | 'everything' }
  /** The database dies while the service stands at a fault point, and goes on from there. */
  | { kind: 'database at'; point: FaultPoint; nth: number }
  | { kind: 'service' | 'database' | 'postmaster' | 'backend' | 'everything' | 'SIGTERM'; afterMs: number }
  /** The service dies, and again while it starts. */
  | { kind: 'starting'; afterMs: number; startedForMs: number }
  /** Clients go away in the middle of their requests. */
  | { kind: 'cut'; times: number; everyMs: number }
  /** The service dies while it collects garbage. */
  | { kind: 'collecting'; dies: 'service' | 'everything'; afterMs: number };

/** A registry from its first start to its last, through some kills. */
export interface Life {
  store: StoreName;
  random: Random;
  /** Before there is anything to lose. */
  first: Kill[];
  underLoad: Kill[];
  collecting: Kill[];
}

/** In the order the collector passes them: what an earlier one leaves is there for the later ones. */
const COLLECTING: FaultPoint[] = [
  'uploads-expired',
  'layers-unlinked',
  'blobs-dropped',
  'doomed-claimed',
  'doomed-removed',
  'doomed-discarded',
  'orphans-found',
  'orphans-removed',
  'unfinished-found',
  'unfinished-discarded',
];
const FIRST: FaultPoint[] = ['store-named'];
const OF_S3: FaultPoint[] = [
  'multipart-created',
  'multipart-part-stored',
  'multipart-rest-stored',
  'rest-recorded',
];
const OF_FILES: FaultPoint[] = [
  'file-folder-made',
  'file-written',
  'object-file-linked',
  'object-folder-made',
  'object-part-linked',
  'object-layout-written',
];
const KILLS_PER_LIFE = 16;

/** Every named point once, in one life. */
export function everyPoint(store: StoreName, seed: number): Life {
  const at = (points: FaultPoint[]): Kill[] =>
    points.map((point) => ({ kind: 'at', point, nth: 1, dies: 'service' }));
  return {
    store,
    random: new Random(`${seed} every point ${store}`),
    first: at(FIRST),
    underLoad: at(loadPoints(store)),
    collecting: at(COLLECTING),
  };
}

/** As many kills, in lives of some each; the same for the same seed. */
export function plan(stores: readonly StoreName[], seed: number, kills: number): Life[] {
  const random = new Random(`${seed} plan`);
  const points = new Map(stores.map((store) => [store, endless(loadPoints(store), random)]));
  const lives: Life[] = [];
  for (let left = kills; left > 0; left -= KILLS_PER_LIFE) {
    const count = Math.min(left, KILLS_PER_LIFE);
    const store = stores[lives.length % stores.length]!;
    const collecting = Math.floor(count / 4);
    const first = lives.length < stores.length && count > 1 ? 1 : 0;
    lives.push({
      store,
      random: random.below(lives.length),
      first: FIRST.slice(0, first).map((point) => ({ kind: 'at', point, nth: 1, dies: 'service' })),
      underLoad: Array.from({ length: count - collecting - first }, () =>
        underLoad(random, () => points.get(store)!.next().value),
      ),
      collecting: inCollection(random, collecting),
    });
  }
  return lives;
}

export function countKills(lives: readonly Life[]): number {
  return lives.reduce(
    (sum, life) => sum + life.first.length + life.underLoad.length + life.collecting.length,
    0,
  );
}

export function describeKill(kill: Kill): string {
  switch (kill.kind) {
    case 'at':
      return `${kill.dies} killed at ${kill.point}:${kill.nth}`;
    case 'database at':
      return `database killed at ${kill.point}:${kill.nth}`;
    case 'SIGTERM':
      return `SIGTERM after ${kill.afterMs} ms`;
    case 'starting':
      return `service killed after ${kill.afterMs} ms and again ${kill.startedForMs} ms into its start`;
    case 'cut':
      return `${kill.times} clients cut off`;
    case 'collecting':
      return `${kill.dies} killed ${kill.afterMs} ms into a collection`;
    default:
      return `${kill.kind} killed after ${kill.afterMs} ms`;
  }
}

function loadPoints(store: StoreName): FaultPoint[] {
  const others = new Set([...COLLECTING, ...FIRST, ...(store === 's3' ? OF_FILES : OF_S3)]);
  return FAULT_POINTS.filter((point) => !others.has(point));
}

function underLoad(random: Random, nextPoint: () => FaultPoint): Kill {
  const afterMs = random.integer(0, 1_200);
  const nth = random.pick([1, 1, 2, 3, 5]);
  const kind = random.next();
  if (kind < 0.3)
    return { kind: 'at', point: nextPoint(), nth, dies: random.pick(['service', 'everything']) };
  if (kind < 0.45) return { kind: 'database at', point: nextPoint(), nth };
  if (kind < 0.52) return { kind: 'cut', times: random.integer(5, 25), everyMs: random.integer(5, 80) };
  if (kind < 0.6) return { kind: 'starting', afterMs, startedForMs: random.integer(0, 1_500) };
  const others = [
    'service',
    'service',
    'database',
    'postmaster',
    'backend',
    'everything',
    'everything',
  ] as const;
  return { kind: random.pick([...others, 'SIGTERM']), afterMs };
}

function inCollection(random: Random, count: number): Kill[] {
  const points = random.shuffled(COLLECTING).slice(0, Math.ceil(count * 0.7));
  const inOrder = COLLECTING.filter((point) => points.includes(point));
  const dies = (): 'service' | 'everything' => random.pick(['service', 'everything']);
  return [
    ...inOrder.map((point): Kill => ({ kind: 'at', point, nth: 1, dies: dies() })),
    ...Array.from({ length: count - inOrder.length }, (): Kill => {
      return { kind: 'collecting', dies: dies(), afterMs: random.integer(0, 150) };
    }),
  ];
}

/** All in turn, each round in another order. */
function* endless<Item>(items: readonly Item[], random: Random): Generator<Item, never> {
  for (;;) yield* random.shuffled(items);
}
