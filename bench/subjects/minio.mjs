import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findTool } from '../../scripts/tools.mjs';
import { freePort, startProgram } from './program.mjs';

/** MinIO keeps its counters for ten seconds before it counts anew. */
const COUNTERS_AGE_MS = 10_500;

/** One MinIO node on one folder, as it ships. Every subject has a bucket of its own in it, whose requests are counted apart. */
export async function startMinio(folder) {
  const binary = findTool('minio');
  if (!binary) return undefined;
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const credentials = { accessKeyId: 'stowagebench', secretAccessKey: randomBytes(20).toString('hex') };
  const program = await startProgram(
    [binary, 'server', join(folder, 'data'), '--address', `127.0.0.1:${port}`, '--quiet'],
    {
      log: join(folder, 'minio.log'),
      ready: `${endpoint}/minio/health/ready`,
      env: {
        HOME: folder,
        MINIO_ROOT_USER: credentials.accessKeyId,
        MINIO_ROOT_PASSWORD: credentials.secretAccessKey,
        MINIO_BROWSER: 'off',
        MINIO_PROMETHEUS_AUTH_TYPE: 'public',
      },
    },
  );
  const s3 = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true });
  return {
    name: 'MinIO',
    endpoint,
    credentials,
    pid: program.pid,
    target: { host: '127.0.0.1', port, credentials },
    createBucket: (Bucket) => s3.send(new CreateBucketCommand({ Bucket })),
    /** @returns {Promise<(bucket: string) => Counters>} of everything so far */
    async counters() {
      await sleep(COUNTERS_AGE_MS);
      const answer = await fetch(`${endpoint}/minio/v2/metrics/bucket`);
      const text = await answer.text();
      return (bucket) => readCounters(text, bucket);
    },
    async stop() {
      s3.destroy();
      await program.stop();
    },
  };
}

/** @returns {Counters} @typedef {{ requests: Record<string, number>, total: number, receivedBytes: number, sentBytes: number }} Counters */
function readCounters(metrics, bucket) {
  const requests = {};
  let receivedBytes = 0;
  let sentBytes = 0;
  for (const [, name, labels, value] of metrics.matchAll(/^(minio_bucket_\w+)\{([^}]*)\} (\S+)$/gm)) {
    if (!labels.includes(`bucket="${bucket}"`)) continue;
    if (name === 'minio_bucket_traffic_received_bytes') receivedBytes += Number(value);
    if (name === 'minio_bucket_traffic_sent_bytes') sentBytes += Number(value);
    const api = /api="(\w+)"/.exec(labels)?.[1];
    if (name === 'minio_bucket_requests_total' && api) requests[api] = (requests[api] ?? 0) + Number(value);
  }
  const total = Object.values(requests).reduce((sum, count) => sum + count, 0);
  return { requests, total, receivedBytes, sentBytes };
}
