import { createDatabase } from '../support/postgres.js';
import { type PostgresProxy, startPostgresProxy } from '../support/postgres-proxy.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import type { StoreName } from '../support/stores.js';

export interface SickDatabase {
  registry: TestRegistry;
  database: PostgresProxy;
  /** Of the same database, past the proxy. */
  directUrl: string;
  close(): Promise<void>;
}

/** A registry that reaches its database only through a proxy that does what the test says. */
export async function startOnSickDatabase(
  store: StoreName,
  config: Record<string, string> = {},
): Promise<SickDatabase> {
  const own = await createDatabase();
  const database = await startPostgresProxy(own.url);
  const remove = async (): Promise<void> => {
    await database.close();
    await own.drop();
  };
  try {
    const registry = await startRegistry({
      store,
      embeddedDatabase: true, // that is: none of the tests' server, since this one is given
      // Without jobs, whose statements would meet the faults in place of the test's.
      config: { DATABASE_URL: database.url, STOWAGE_ROLE: 'api', ...config },
    });
    return {
      registry,
      database,
      directUrl: own.url,
      async close() {
        await database.restore();
        await registry.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
