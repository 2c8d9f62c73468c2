import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requiredEnvironment } from '../support/postgres.js';
import { freePort } from '../support/test-environment.js';

/** MinIO keeps its counters for ten seconds before it counts anew. */
const COUNTERS_AGE_MS = 10_500;
const START_PATIENCE_MS = 60_000;

/** A MinIO that only one test speaks to, so that its counters are that test's. */
export interface CountingMinio {
  /** Settings of a service that keeps its layers there. */
  settings: Record<string, string>;
  counters(): Promise<S3Counters>;
  stop(): Promise<void>;
}

export interface S3Counters {
  /** Requests by their names in S3. */
  requests: Record<string, number>;
  receivedBytes: number;
  sentBytes: number;
}

export async function startCountingMinio(): Promise<CountingMinio> {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-minio-'));
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const secret = randomBytes(20).toString('hex');
  const minio = spawn(
    requiredEnvironment('STOWAGE_TEST_MINIO'),
    ['server', folder, '--address', new URL(endpoint).host, '--quiet'],
    {
      stdio: 'ignore',
      env: {
        PATH: process.env['PATH'],
        HOME: folder,
        MINIO_ROOT_USER: 'stowagetest',
        MINIO_ROOT_PASSWORD: secret,
        MINIO_BROWSER: 'off',
        MINIO_PROMETHEUS_AUTH_TYPE: 'public',
      },
    },
  );
  const stop = async (): Promise<void> => {
    await ended(minio);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  for (const deadline = Date.now() + START_PATIENCE_MS; ; await sleep(100)) {
    const response = await fetch(`${endpoint}/minio/health/ready`).catch(() => undefined);
    if (response?.ok) break;
    if (minio.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error('MinIO did not start');
    }
  }
  let readAt = -COUNTERS_AGE_MS;
  return {
    settings: {
      STOWAGE_S3_ENDPOINT: endpoint,
      STOWAGE_S3_BUCKET: 'layers',
      STOWAGE_S3_ACCESS_KEY_ID: 'stowagetest',
      STOWAGE_S3_SECRET_ACCESS_KEY: secret,
    },
    async counters() {
      await sleep(Math.max(0, readAt + COUNTERS_AGE_MS - performance.now()));
      readAt = performance.now();
      return readCounters(await (await fetch(`${endpoint}/minio/v2/metrics/cluster`)).text());
    },
    stop,
  };
}

/** What happened between two readings. */
export function between(before: S3Counters, after: S3Counters): S3Counters & { total: number } {
  const requests = Object.fromEntries(
    Object.entries(after.requests)
      .map(([api, count]) => [api, count - (before.requests[api] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  );
  return {
    requests,
    total: Object.values(requests).reduce((sum, count) => sum + count, 0),
    receivedBytes: after.receivedBytes - before.receivedBytes,
    sentBytes: after.sentBytes - before.sentBytes,
  };
}

function readCounters(metrics: string): S3Counters {
  const requests: Record<string, number> = {};
  for (const [, api, count] of metrics.matchAll(/^minio_s3_requests_total\{[^}]*api="(\w+)"[^}]*\} (\S+)$/gm))
    requests[api!] = (requests[api!] ?? 0) + Number(count);
  const sum = (name: string): number =>
    [...metrics.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'gm'))].reduce(
      (total, [, bytes]) => total + Number(bytes),
      0,
    );
  return {
    requests,
    receivedBytes: sum('minio_s3_traffic_received_bytes'),
    sentBytes: sum('minio_s3_traffic_sent_bytes'),
  };
}

async function ended(minio: ChildProcess): Promise<void> {
  if (minio.exitCode !== null || minio.signalCode !== null) return;
  const exit = once(minio, 'exit');
  minio.kill('SIGKILL');
  await exit;
}
