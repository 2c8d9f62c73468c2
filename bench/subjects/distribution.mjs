import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool } from '../../scripts/tools.mjs';
import { freePort, startProgram } from './program.mjs';

/**
 * The CNCF registry with its example configuration, which keeps blob descriptors in memory, without the authentication.
 * @param {{ minio?: object }} options as for Stowage
 */
export async function startDistribution(folder, { minio } = {}) {
  const binary = findTool('registry');
  if (!binary) return undefined;
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const bucket = 'distribution';
  if (minio) await minio.createBucket(bucket);
  const storage = minio
    ? {
        s3: {
          region: 'us-east-1',
          regionendpoint: minio.endpoint,
          bucket,
          accesskey: minio.credentials.accessKeyId,
          secretkey: minio.credentials.secretAccessKey,
          forcepathstyle: true,
          secure: false,
        },
      }
    : { filesystem: { rootdirectory: join(folder, 'data') } };
  // JSON is YAML as well.
  const configuration = {
    version: '0.1',
    log: { fields: { service: 'registry' } },
    storage: { cache: { blobdescriptor: 'inmemory' }, ...storage, tag: { concurrencylimit: 8 } },
    http: {
      addr: `127.0.0.1:${port}`,
      secret: randomBytes(16).toString('hex'),
      headers: { 'X-Content-Type-Options': ['nosniff'] },
    },
    health: { storagedriver: { enabled: true, interval: '10s', threshold: 3 } },
  };
  const file = join(folder, 'config.yml');
  await writeFile(file, JSON.stringify(configuration, undefined, 2));
  const program = await startProgram([binary, 'serve', file], {
    cwd: folder,
    log: join(folder, 'registry.log'),
    ready: `http://127.0.0.1:${port}/v2/`,
    env: { OTEL_TRACES_EXPORTER: 'none' },
  });
  return {
    name: minio ? 'distribution on MinIO' : 'distribution, disk',
    pid: program.pid,
    minio,
    bucket,
    target: { host: '127.0.0.1', port },
    createRepository: () => Promise.resolve(),
    stop: program.stop,
  };
}
