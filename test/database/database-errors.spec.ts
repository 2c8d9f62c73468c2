import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { loadConfig } from '../../src/config/config.js';
import {
  isCheckViolation,
  isForeignKeyViolation,
  isRetryableConflict,
  isUnavailable,
  isUniqueViolation,
  sqlState,
} from '../../src/database/database-errors.js';
import { PostgresServer } from '../../src/database/postgres-server.js';
import { PrismaService } from '../../src/database/prisma.service.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
let prisma: PrismaService;

beforeAll(async () => {
  database = await createDatabase();
  prisma = clientOf(database.url);
});

afterAll(async () => {
  await prisma.$disconnect();
  await database.drop();
});

const address = { accountId: '000000000000', region: 'us-east-1' };

describe('what a failed query means', () => {
  it('tells a unique violation and its index, from the client and from raw SQL', async () => {
    await prisma.registry.create({ data: address });
    const byClient = await faultOf(() => prisma.registry.create({ data: address }));
    const bySql = await faultOf(
      () =>
        prisma.$executeRaw`INSERT INTO registry (account_id, region) VALUES ('000000000000', 'us-east-1')`,
    );
    for (const fault of [byClient, bySql]) {
      expect(isUniqueViolation(fault, 'registry_address_key')).toBe(true);
      expect(isUniqueViolation(fault, 'repository_name_key')).toBe(false);
      expect(isForeignKeyViolation(fault)).toBe(false);
      expect(isUnavailable(fault)).toBe(false);
    }
  });

  it('tells a foreign key violation', async () => {
    const byClient = await faultOf(() => prisma.repository.create({ data: { registryId: 404n, name: 'a' } }));
    const bySql = await faultOf(
      () => prisma.$executeRaw`INSERT INTO repository (registry_id, name) VALUES (404, 'a')`,
    );
    for (const fault of [byClient, bySql]) expect(isForeignKeyViolation(fault)).toBe(true);
  });

  it('tells a counter that would fall below zero', async () => {
    const { id } = await prisma.registry.upsert({
      where: { accountId_region: address },
      create: address,
      update: {},
    });
    const byClient = await faultOf(() =>
      prisma.registry.update({ where: { id }, data: { repositoryCount: { decrement: 1 } } }),
    );
    const bySql = await faultOf(
      () => prisma.$executeRaw`UPDATE registry SET repository_count = -1 WHERE id = ${id}`,
    );
    for (const fault of [byClient, bySql]) expect(isCheckViolation(fault)).toBe(true);
  });

  it('tells a deadlock, which may be tried again', async () => {
    const [first, second] = await Promise.all(
      ['eu-west-1', 'eu-west-2'].map((region) => prisma.registry.create({ data: { ...address, region } })),
    );
    const meet = barrier(2);
    const lockBoth = (one: bigint, other: bigint) =>
      prisma.$transaction(async (tx) => {
        await tx.$queryRaw`SELECT id FROM registry WHERE id = ${one} FOR UPDATE`;
        await meet();
        await tx.$queryRaw`SELECT id FROM registry WHERE id = ${other} FOR UPDATE`;
      });
    const outcomes = await Promise.allSettled([
      lockBoth(first!.id, second!.id),
      lockBoth(second!.id, first!.id),
    ]);
    const faults = outcomes
      .filter((outcome) => outcome.status === 'rejected')
      .map(({ reason }) => reason as unknown);
    expect(faults.map(isRetryableConflict)).toEqual([true]);
    expect(faults.map(isUnavailable)).toEqual([false]);
  });

  it('tells that there is no database to ask', async () => {
    const nowhere = clientOf('postgresql://nobody@127.0.0.1:1/nothing');
    expect(isUnavailable(await faultOf(() => nowhere.registry.count()))).toBe(true);
    expect(isUnavailable(await faultOf(() => nowhere.$queryRaw`SELECT 1`))).toBe(true);
    expect(isUnavailable(await faultOf(() => nowhere.$transaction((tx) => tx.registry.count())))).toBe(true);
    await nowhere.$disconnect();
  });

  it('tells that the connection was cut in the middle of a query', async () => {
    const other = clientOf(database.url);
    const query = faultOf(() => other.$queryRaw`SELECT pg_sleep(20)::text`);
    for (let cut = 0; cut === 0;) {
      const rows = await prisma.$queryRaw<unknown[]>`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()`;
      cut = rows.length;
    }
    expect(isUnavailable(await query)).toBe(true);
    expect(await other.registry.count()).toBeGreaterThan(0);
    await other.$disconnect();
  });

  it.each([
    [
      'a statement took too long',
      '57014',
      ["SET LOCAL statement_timeout = '20ms'", 'SELECT pg_sleep(20)::text'],
    ],
    [
      'a lock was not to be had in time',
      '55P03',
      ["SET LOCAL lock_timeout = '20ms'", 'LOCK TABLE upload_tail IN ACCESS EXCLUSIVE MODE'],
    ],
    [
      'the server only reads',
      '25006',
      ['SET TRANSACTION READ ONLY', "INSERT INTO registry (account_id, region) VALUES ('111111111111', 'x')"],
    ],
  ])('tells that %s, which may pass', async (_what, state, statements) => {
    const holder = clientOf(database.url);
    const held = barrier(2);
    const done = barrier(2);
    const holding = holder.$transaction(async (tx) => {
      await tx.$executeRawUnsafe('LOCK TABLE upload_tail IN ACCESS SHARE MODE');
      await held();
      await done();
    });
    await held();
    const fault = await faultOf(() =>
      prisma.$transaction(async (tx) => {
        for (const statement of statements) await tx.$executeRawUnsafe(statement);
      }),
    );
    await done();
    await holding;
    await holder.$disconnect();
    expect([sqlState(fault), isUnavailable(fault), isRetryableConflict(fault)]).toEqual([state, true, false]);
  });

  it('tells that the server has no connection left', async () => {
    const role = `crowd_${randomUUID().replaceAll('-', '')}`;
    await prisma.$executeRawUnsafe(`CREATE ROLE ${role} LOGIN PASSWORD '${role}' CONNECTION LIMIT 0`);
    const url = new URL(database.url);
    [url.username, url.password] = [role, role];
    const crowded = clientOf(url.toString());
    const faults = [
      await faultOf(() => crowded.$queryRaw`SELECT 1`),
      await faultOf(() => crowded.$transaction((tx) => tx.$queryRaw`SELECT 1`)),
    ];
    expect(faults.map(isUnavailable)).toEqual([true, true]);
    await crowded.$disconnect();
    await prisma.$executeRawUnsafe(`DROP ROLE ${role}`);
  });

  it('does not take a fault of the program for one of the database', async () => {
    expect(isUnavailable(new TypeError('x is undefined'))).toBe(false);
    expect(isUnavailable(await faultOf(() => prisma.$queryRaw`SELECT nonsense`))).toBe(false);
  });
});

function clientOf(url: string): PrismaService {
  return new PrismaService(new PostgresServer(url), loadConfig({ DATABASE_URL: url }));
}

async function faultOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
  } catch (fault) {
    return fault;
  }
  throw new Error('It succeeded');
}

/** Lets nobody pass before all are there. */
function barrier(parties: number): () => Promise<void> {
  let open: () => void;
  const gathered = new Promise<void>((resolve) => (open = resolve));
  let arrived = 0;
  return () => {
    arrived += 1;
    if (arrived === parties) open();
    return gathered;
  };
}
