import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase } from './postgres.js';
import type { Credentials } from './registry-client.js';
import { s3Environment, type StoreName } from './stores.js';

export interface RegistryOptions {
  store: StoreName;
  /** Further settings, by the names of the environment. */
  config?: Record<string, string>;
  /** The embedded PostgreSQL in the data folder, started by the service itself; else a database of the tests' server. */
  embeddedDatabase?: boolean;
}

/** Everything one registry of a test has to itself. */
export interface TestEnvironment {
  url: string;
  operatorUrl: string;
  dataDir: string;
  credentials: Credentials;
  /** All settings of the service. */
  settings: Record<string, string>;
  /** Throws away the database and the folder. */
  remove(): Promise<void>;
}

export async function createEnvironment(options: RegistryOptions): Promise<TestEnvironment> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stowage-registry-'));
  const database = options.embeddedDatabase ? undefined : await createDatabase();
  const [port, operatorPort] = await Promise.all([freePort(), freePort()]);
  const credentials = {
    accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(20).toString('hex'),
  };
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    operatorUrl: `http://127.0.0.1:${operatorPort}`,
    dataDir,
    credentials,
    settings: {
      STOWAGE_PORT: String(port),
      STOWAGE_OPERATOR_PORT: String(operatorPort),
      STOWAGE_PUBLIC_URL: url,
      STOWAGE_DATA_DIR: dataDir,
      STOWAGE_ROOT_ACCESS_KEY_ID: credentials.accessKeyId,
      STOWAGE_ROOT_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      STOWAGE_DATABASE_CONNECTIONS: '8',
      STOWAGE_LOG_LEVEL: process.env['STOWAGE_TEST_LOG_LEVEL'] ?? 'fatal',
      ...(database && { DATABASE_URL: database.url }),
      ...(options.store === 's3' && s3Environment()),
      ...options.config,
    },
    async remove() {
      await database?.drop();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Another process of the same deployment: same database, store and keys, ports of its own. Removes nothing. */
export async function replicaOf(
  environment: TestEnvironment,
  config: Record<string, string> = {},
): Promise<TestEnvironment> {
  const [port, operatorPort] = await Promise.all([freePort(), freePort()]);
  return {
    ...environment,
    url: `http://127.0.0.1:${port}`,
    operatorUrl: `http://127.0.0.1:${operatorPort}`,
    settings: {
      ...environment.settings,
      STOWAGE_PORT: String(port),
      STOWAGE_OPERATOR_PORT: String(operatorPort),
      ...config,
    },
    remove: async () => undefined,
  };
}

/**
 * Free a moment ago: the URL must be known before the service listens, since it hands it out. Below the ports that are given to
 * whoever connects, so that none of the many clients takes it meanwhile.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_768);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
