import { CreateRepositoryCommand, ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { NODE_FLAGS } from '../../scripts/setup.mjs';
import { freePort, startProgram } from './program.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const NODE = join(ROOT, 'node_modules/node/bin/node');

/**
 * The built service as a process of its own, with everything as it ships: embedded PostgreSQL that syncs, log at level info.
 * @param {string} folder of its own
 * @param {{ minio?: object, settings?: Record<string, string>, nodeOptions?: string[], env?: Record<string, string> }} options
 *   `minio` for layers in a bucket there, else files below the folder
 */
export async function startStowage(folder, { minio, settings, nodeOptions = [], env } = {}) {
  await mkdir(folder, { recursive: true });
  const [port, operatorPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const credentials = {
    accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(20).toString('hex'),
  };
  const bucket = 'stowage';
  const s3 = minio && {
    STOWAGE_S3_ENDPOINT: minio.endpoint,
    STOWAGE_S3_BUCKET: bucket,
    STOWAGE_S3_ACCESS_KEY_ID: minio.credentials.accessKeyId,
    STOWAGE_S3_SECRET_ACCESS_KEY: minio.credentials.secretAccessKey,
  };
  const program = await startProgram([NODE, ...NODE_FLAGS, ...nodeOptions, join(ROOT, 'dist/main.js')], {
    cwd: folder,
    log: join(folder, 'stowage.log'),
    ready: `http://127.0.0.1:${operatorPort}/readyz`,
    env: {
      STOWAGE_PORT: String(port),
      STOWAGE_OPERATOR_PORT: String(operatorPort),
      STOWAGE_PUBLIC_URL: url,
      STOWAGE_DATA_DIR: join(folder, 'data'),
      STOWAGE_ROOT_ACCESS_KEY_ID: credentials.accessKeyId,
      STOWAGE_ROOT_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      ...s3,
      ...settings,
      ...env,
    },
  });
  const ecr = new ECRClient({ endpoint: url, region: 'us-east-1', credentials });
  const { authorizationData } = await ecr.send(new GetAuthorizationTokenCommand({}));
  return {
    name: minio ? 'Stowage on MinIO' : 'Stowage, disk',
    pid: program.pid,
    minio,
    bucket,
    ecr,
    target: {
      host: '127.0.0.1',
      port,
      authorization: `Basic ${authorizationData[0].authorizationToken}`,
      // Calls of the ECR API are signed with these instead.
      credentials,
    },
    createRepository: (repositoryName) => ecr.send(new CreateRepositoryCommand({ repositoryName })),
    async stop() {
      ecr.destroy();
      await program.stop();
    },
  };
}
