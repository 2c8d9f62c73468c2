import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, startProgram } from './program.mjs';

/** zot, where ZOT_BIN names it. On local disk it does not sync what it stores: `commit` is off as it ships. */
export async function startZot(folder, { minio } = {}) {
  const binary = process.env.ZOT_BIN;
  if (!binary) return undefined;
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const bucket = 'zot';
  if (minio) await minio.createBucket(bucket);
  const s3 = minio && {
    // Deduplication on S3 would need a database service beside it.
    dedupe: false,
    storageDriver: {
      name: 's3',
      rootdirectory: '/zot',
      region: 'us-east-1',
      regionendpoint: minio.endpoint,
      bucket,
      accesskey: minio.credentials.accessKeyId,
      secretkey: minio.credentials.secretAccessKey,
      forcepathstyle: true,
      secure: false,
      skipverify: true,
    },
  };
  const configuration = {
    storage: { rootDirectory: join(folder, 'data'), ...s3 },
    http: { address: '127.0.0.1', port: String(port) },
    log: { level: 'info' },
  };
  const file = join(folder, 'config.json');
  await writeFile(file, JSON.stringify(configuration, undefined, 2));
  const program = await startProgram([binary, 'serve', file], {
    cwd: folder,
    log: join(folder, 'zot.log'),
    ready: `http://127.0.0.1:${port}/v2/`,
    env: {},
  });
  return {
    name: minio ? 'zot on MinIO' : 'zot, disk',
    pid: program.pid,
    minio,
    bucket,
    target: { host: '127.0.0.1', port },
    createRepository: () => Promise.resolve(),
    stop: program.stop,
  };
}
