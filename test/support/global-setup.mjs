import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockDataDir } from '../../dist/database/data-dir-lock.js';
import { startEmbeddedPostgres } from '../../dist/database/embedded-postgres.js';
import { applyMigrations } from '../../dist/database/migrate.js';
import { endLeftovers } from '../../dist/database/postgres-processes.js';

const PREFIX = 'stowage-test-';
const MINIO_PATIENCE_MS = 60_000;

/** One PostgreSQL with a migrated database to copy from, and one MinIO, for all suites. Workers learn of them by environment. */
export default async function setup() {
  await sweep();
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  const postgres = await startEmbeddedPostgres(join(folder, 'postgres'), {
    durable: false,
    maxConnections: 400,
  });
  await applyMigrations(postgres.url);
  process.env.STOWAGE_TEST_TEMPLATE_URL = postgres.url;
  const minio =
    process.env.STOWAGE_TEST_MINIO &&
    (await startMinio(process.env.STOWAGE_TEST_MINIO, join(folder, 'minio')));
  globalThis.stopTestServers = async () => {
    minio?.kill('SIGKILL');
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
}

/** What runs that were killed left behind. */
async function sweep() {
  for (const name of readdirSync(tmpdir())) {
    const dataDir = join(tmpdir(), name, 'postgres');
    if (!name.startsWith(PREFIX) || !existsSync(join(dataDir, 'postgres.lock'))) continue;
    const lock = await lockDataDir(dataDir, 0).catch(() => undefined);
    if (!lock) continue; // of a run that goes on
    const pgdata = join(dataDir, 'postgres/data');
    if (existsSync(pgdata)) await endLeftovers(pgdata);
    lock.release();
    rmSync(join(tmpdir(), name), { recursive: true, force: true, maxRetries: 5 });
  }
}

async function startMinio(binary, folder) {
  const address = `127.0.0.1:${await freePort()}`;
  const secretAccessKey = randomBytes(20).toString('hex');
  const minio = spawn(binary, ['server', folder, '--address', address, '--quiet'], {
    stdio: 'ignore',
    env: {
      ...process.env,
      MINIO_ROOT_USER: 'stowagetest',
      MINIO_ROOT_PASSWORD: secretAccessKey,
      MINIO_BROWSER: 'off',
      MINIO_PROMETHEUS_AUTH_TYPE: 'public',
    },
  });
  process.once('exit', () => minio.kill('SIGKILL'));
  for (const deadline = Date.now() + MINIO_PATIENCE_MS; ; await sleep(100)) {
    const response = await fetch(`http://${address}/minio/health/ready`).catch(() => undefined);
    if (response?.ok) break;
    if (minio.exitCode !== null || Date.now() > deadline) throw new Error(`MinIO (${binary}) did not start`);
  }
  minio.unref();
  process.env.STOWAGE_TEST_S3_ENDPOINT = `http://${address}`;
  process.env.STOWAGE_TEST_S3_ACCESS_KEY_ID = 'stowagetest';
  process.env.STOWAGE_TEST_S3_SECRET_ACCESS_KEY = secretAccessKey;
  return minio;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}
