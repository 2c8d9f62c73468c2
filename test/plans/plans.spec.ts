import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { OPERATIONS } from './operations.js';
import { type ExecutedPlan, explainEverything, plansDuring } from './plans.js';
import { seed, type Size } from './seed.js';

const IMAGES = Number(process.env['STOWAGE_TEST_PLAN_IMAGES'] ?? 1_000_000);
const SIZE: Size = {
  images: IMAGES,
  repositories: 10_000,
  largest: IMAGES / 10,
  untagged: IMAGES / 50,
  uploads: 20_000,
};
/** From the sixth execution on PostgreSQL may keep a plan that fits any parameters. */
const RUNS = 8;
/** Rows of a table that may be read from one end to the other. */
const SMALL_TABLE = 2_000;
/** Rows looked at for each row wanted: of the table, of what refers to it, and of their indexes. */
const ROWS_PER_ROW = 12;
const ROWS_BESIDE = 60;
/** The image and its first tag. */
const PER_IMAGE_PASSED_OVER = 2;

let first: TestRegistry;
let registry: TestRegistry;
let largeTables: Set<string>;

beforeAll(async () => {
  first = await startRegistry({
    store: 'filesystem',
    config: { STOWAGE_ROLE: 'api', STOWAGE_QUOTA_IMAGES_PER_REPOSITORY: '100000000' },
  });
  const url = first.environment.settings['DATABASE_URL']!;
  await seed(url, SIZE);
  largeTables = await tablesOver(url, SMALL_TABLE);
  await explainEverything(url);
  registry = await startReplica(first);
}, 300_000);

afterAll(async () => {
  await registry?.close();
  await first?.close();
}, 60_000);

describe(`in a registry of ${IMAGES} images`, () => {
  it.each(OPERATIONS)(
    '$name reads no table from end to end, and few rows beside those it is about',
    async ({ name, rows, passedOver, prepare }) => {
      const plans: ExecutedPlan[] = [];
      for (let n = 0; n < RUNS; n += 1) {
        const run = await prepare({ registry, size: SIZE }, n);
        plans.push(...(await plansDuring(run)));
      }
      const touched = Math.round(plans.reduce((sum, plan) => sum + plan.touched, 0) / RUNS);
      const pages = Math.round(plans.reduce((sum, plan) => sum + plan.pages, 0) / RUNS);
      process.stdout.write(
        `${name}: ${(plans.length / RUNS).toFixed(1)} statements with those inside of them, ${touched} rows for ${rows}, ${pages} pages\n`,
      );
      expect(plans.length).toBeGreaterThan(0);
      const scans = plans.filter(({ scanned }) => scanned.some((table) => largeTables.has(table)));
      expect(distinct(scans.map(({ text, scanned }) => `reads all of ${scanned.join()}: ${text}`))).toEqual(
        [],
      );
      const most = ROWS_PER_ROW * rows + ROWS_BESIDE + PER_IMAGE_PASSED_OVER * (passedOver?.(SIZE) ?? 0);
      const dear = plans.filter((plan) => plan.touched > most);
      expect(distinct(dear.map((plan) => `looks at ${plan.touched} rows: ${plan.text}`))).toEqual([]);
    },
    120_000,
  );
});

it('would see a statement that reads a whole table or passes over its rows', async () => {
  const all = await plansDuring(
    () => registry.prisma.$queryRaw`SELECT count(*) FROM image WHERE size_bytes = 5`,
  );
  expect(all.flatMap(({ scanned }) => scanned)).toEqual(['image']);
  const passed = await plansDuring(
    () => registry.prisma.$queryRaw`SELECT digest FROM image WHERE id < 5000 AND size_bytes = 5`,
  );
  expect(passed.map(({ touched }) => touched)).toEqual([4999]);
});

/** One of each statement, with what was found of its first execution. */
function distinct(findings: string[]): string[] {
  return [...new Map(findings.map((finding) => [finding.replace(/^[^:]*: /, ''), finding])).values()];
}

async function tablesOver(url: string, rows: number): Promise<Set<string>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: found } = await client.query<{ relname: string }>(
      `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > $1`,
      [rows],
    );
    return new Set(found.map(({ relname }) => relname));
  } finally {
    await client.end();
  }
}
