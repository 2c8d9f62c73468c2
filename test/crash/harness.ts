import { setTimeout as sleep } from 'node:timers/promises';
import { killIfThere, postgresProcesses } from '../restart/crash.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { SHARED } from './actor.js';
import { Client } from './client.js';
import { collectEverything, impatience, inDatabase, judgeStore, startJobs } from './collection.js';
import { createRepository } from './doors.js';
import { isStopped, killDatabase, killEverything, lastWords, pointOf, until, whenReady } from './kills.js';
import { type Finding, PRESENT, repositoryKey } from './ledger.js';
import { observe } from './observation.js';
import { describeKill, type Kill, type Life } from './plan.js';
import { type StoredBytes, storedBytes } from './stored-bytes.js';
import { World } from './world.js';

export interface LifeReport {
  kills: number;
  /** Points of the collector that had nothing to do in this life; the service was killed where it was. */
  unreached: string[];
  acknowledged: number;
  findings: Finding[];
}

const CLIENTS = 4;
/** How long the collector may take to come to a fault point, where it may have nothing to do, and the load, where it must. */
const COLLECTOR_PATIENCE_MS = 8_000;
const POINT_PATIENCE_MS = 90_000;

/** Runs one registry through all its kills. @param tell one line for every kill and every finding */
export async function live(life: Life, tell: (line: string) => void): Promise<LifeReport> {
  const registry = await startRegistryProcess({
    store: life.store,
    embeddedDatabase: true,
    config: { STOWAGE_LOG_LEVEL: 'error' },
  });
  const one = new LifeOfRegistry(registry, life, tell);
  try {
    await one.run();
  } catch (error) {
    one.found({ kind: 'unexpected', text: `${(error as Error).stack}\n${lastWords(registry.output)}` });
  } finally {
    await one.end();
  }
  const { ledger, findings } = one.world;
  return { kills: one.kills, unreached: one.unreached, acknowledged: ledger.acknowledged, findings };
}

class LifeOfRegistry {
  kills = 0;
  readonly unreached: string[] = [];
  readonly world: World;
  private readonly clients: Client[];
  private readonly stored: StoredBytes;
  private readonly settings: Record<string, string>;

  constructor(
    private readonly registry: RegistryProcess,
    private readonly life: Life,
    private readonly tell: (line: string) => void,
  ) {
    this.world = new World(registry, (finding) => tell(`    ${finding.kind}: ${finding.text}`));
    this.settings = registry.environment.settings;
    this.stored = storedBytes(registry.environment);
    this.clients = Array.from(
      { length: CLIENTS },
      (_, index) => new Client(this.world, `c${index}`, life.random.below(`client ${index}`)),
    );
  }

  found(finding: Finding): void {
    this.world.found(finding);
  }

  async run(): Promise<void> {
    const { first, underLoad, collecting, random } = this.life;
    for (const kill of first) await this.counted(kill, () => this.killFirstStart(kill));
    for (const name of SHARED) await this.createShared(name);
    for (const [index, kill] of underLoad.entries())
      await this.counted(kill, () => this.killUnderLoad(kill, underLoad[index + 1]));
    await this.finishSome();
    await this.clients[0]!.makeGarbage(random.below('garbage'));
    this.world.ledger.doubtUnneeded((repository) => this.world.neededIn(repository));
    for (const kill of collecting) await this.counted(kill, () => this.killCollector(kill));
    await this.collect();
  }

  async end(): Promise<void> {
    this.stored.close();
    if (!this.registry.isRunning)
      for (const pid of postgresProcesses(this.registry.environment.dataDir)) killIfThere(pid);
    await this.registry.close();
  }

  private async counted(kill: Kill, work: () => Promise<void>): Promise<void> {
    const { ledger } = this.world;
    const before = ledger.acknowledged;
    await work();
    this.kills += 1;
    this.tell(
      `${this.life.store}: ${describeKill(kill)} (${ledger.acknowledged - before} requests acknowledged)`,
    );
  }

  /** The database has a name for the store, the store does not know it yet. */
  private async killFirstStart(kill: Kill): Promise<void> {
    await this.registry.kill('SIGKILL');
    await this.stored.forgetIdentity();
    const died = await this.start(pointOf(kill)).then(
      () => false,
      () => true,
    );
    if (!died) throw new Error(`The first start survived ${describeKill(kill)}`);
    await this.start();
  }

  private async createShared(name: string): Promise<void> {
    const effects = [{ key: repositoryKey(name), value: PRESENT }];
    await this.world.attempt(`CreateRepository ${name}`, effects, (signal) =>
      createRepository(this.registry, name, signal),
    );
  }

  private async killUnderLoad(kill: Kill, next: Kill | undefined): Promise<void> {
    if (this.settings['STOWAGE_TEST_FAULT_POINT'] !== pointOf(kill)['STOWAGE_TEST_FAULT_POINT']) {
      await this.terminate();
      await this.start(pointOf(kill));
    }
    const point = kill.kind === 'at' || kill.kind === 'database at' ? kill.point : undefined;
    const random = this.life.random.below(`load ${this.kills}`);
    const stop = new AbortController();
    const load = Promise.all(
      this.clients.map((client, index) => client.work(random.below(index), stop.signal, point)),
    );
    const endLoad = async (): Promise<void> => {
      stop.abort();
      await load;
    };
    try {
      // A client that fails by itself ends the wait, whatever for.
      const restarted = await Promise.race([
        this.strike(kill, endLoad),
        load.then(() => new Promise<never>(() => undefined)),
      ]);
      if (restarted) {
        this.world.cutAll();
        await endLoad();
        await this.start(next && pointOf(next));
      }
      this.world.disturbed = false;
      await this.verify(restarted);
    } finally {
      stop.abort();
      this.world.cutAll();
      await load.catch(() => undefined);
    }
  }

  /** @returns whether the service has to be started again */
  private async strike(kill: Kill, endLoad: () => Promise<void>): Promise<boolean> {
    switch (kill.kind) {
      case 'at':
        await this.passed(kill, () => !this.registry.isRunning);
        if (kill.dies === 'everything') await killEverything(this.registry);
        return true;
      case 'database at': {
        const { pid } = this.registry;
        await this.passed(kill, () => isStopped(pid));
        await this.disturb(
          () => killDatabase(this.registry, 'database'),
          endLoad,
          () => process.kill(pid, 'SIGCONT'),
        );
        delete this.settings['STOWAGE_TEST_FAULT_POINT'];
        return false;
      }
      case 'database':
      case 'postmaster':
      case 'backend': {
        const which = kill.kind;
        await sleep(kill.afterMs);
        await this.disturb(() => killDatabase(this.registry, which), endLoad);
        return false;
      }
      case 'cut': {
        const random = this.life.random.below(`cut ${this.kills}`);
        this.world.cutting = true;
        for (let times = 0; times < kill.times; times += 1) {
          await sleep(kill.everyMs);
          this.world.cutOne(random);
        }
        this.world.cutting = false;
        this.world.cutAll();
        // In order, so that what clients left behind is carried out or given up by the time it is looked at.
        await this.terminate();
        return true;
      }
      case 'SIGTERM':
        await sleep(kill.afterMs);
        await this.terminate();
        return true;
      case 'starting': {
        await sleep(kill.afterMs);
        await this.registry.kill('SIGKILL');
        await endLoad();
        const starting = this.start().catch(() => undefined);
        await sleep(kill.startedForMs);
        await this.registry.kill('SIGKILL');
        await starting;
        return true;
      }
      default:
        await sleep(kill.afterMs);
        if (kill.kind === 'everything') await killEverything(this.registry);
        else await this.registry.kill('SIGKILL');
        return true;
    }
  }

  /** Something happens to the database while the service lives on; it has to come round by itself. */
  private async disturb(
    happens: () => Promise<void>,
    endLoad: () => Promise<void>,
    then: () => void = () => undefined,
  ): Promise<void> {
    this.world.disturbed = true;
    await happens();
    then();
    await whenReady(this.registry);
    await endLoad();
  }

  private async passed(
    { point }: Extract<Kill, { point: unknown }>,
    condition: () => boolean,
  ): Promise<void> {
    await until(condition, POINT_PATIENCE_MS).catch(() => {
      throw new Error(`Nobody passed ${point}`);
    });
  }

  private async terminate(): Promise<void> {
    const code = await this.registry.kill('SIGTERM');
    if (code !== 0) this.found({ kind: 'unexpected', text: `SIGTERM ended the service with ${code}` });
  }

  /** What becomes of it shows in the end, when all of the garbage must be gone and nothing else. */
  private async killCollector(kill: Kill): Promise<void> {
    if (this.registry.isRunning) await this.terminate();
    await this.stored.plantOrphans();
    await this.start({ ...impatience(), ...pointOf(kill) });
    await startJobs(this.registry);
    // An earlier kill may have left nothing for the collector to do there; then it dies wherever it is.
    if (kill.kind === 'at')
      await until(() => !this.registry.isRunning, COLLECTOR_PATIENCE_MS).catch(() => {
        this.unreached.push(kill.point);
      });
    else if ('afterMs' in kill) await sleep(kill.afterMs);
    if ('dies' in kill && kill.dies === 'everything') await killEverything(this.registry);
    else await this.registry.kill('SIGKILL');
  }

  /** The rest of the garbage goes, and nothing else. */
  private async collect(): Promise<void> {
    if (this.registry.isRunning) await this.terminate();
    await this.stored.plantOrphans();
    await this.start(impatience());
    await collectEverything(this.registry, this.stored);
    for (const finding of await judgeStore(this.registry, this.stored, this.world.contents))
      this.found(finding);
    await this.verify(true);
  }

  /** Resumed from the acknowledged byte, whatever the registry still knows of their digests. */
  private async finishSome(): Promise<void> {
    const random = this.life.random.below('finish');
    await Promise.all(this.clients.map((client, index) => client.finishUploads(random.below(index), 0.6)));
    await this.verify(false);
  }

  private async verify(restarted: boolean): Promise<void> {
    await inDatabase(this.registry, async (prisma) => {
      // A dead request holds its upload for some seconds; here they are over at once.
      await prisma.$executeRaw`UPDATE upload SET lease_expires_at = now() - interval '1 second' WHERE lease_token IS NOT NULL`;
      const { facts, findings } = await observe(this.world, prisma, this.stored);
      for (const finding of [...findings, ...this.world.ledger.judge(facts, restarted)]) this.found(finding);
    });
  }

  private async start(settings: Record<string, string> = {}): Promise<void> {
    for (const name of [
      'STOWAGE_TEST_FAULT_POINT',
      'STOWAGE_TEST_FAULT_SIGNAL',
      ...Object.keys(impatience()),
    ])
      delete this.settings[name];
    Object.assign(this.settings, settings);
    await this.registry.restart();
  }
}
