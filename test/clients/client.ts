import { afterAll, beforeAll, describe } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWhere, runProgram } from '../support/programs.js';
import { createRepository } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore, type StoreName, storeUnderAnotherName } from '../support/stores.js';

/** One client program at work against a registry of its own. */
export interface Client {
  readonly registry: TestRegistry;
  /** Host and port, as they stand in image names. */
  readonly host: string;
  /** What `docker login` is given for the user AWS. */
  readonly password: string;
  /** The client's home, with all its settings and logins. */
  readonly home: string;
  /** Runs the program. @returns its stdout without the last line end */
  run(...args: string[]): Promise<string>;
  /** The same with something to read on stdin. */
  runWith(input: string, ...args: string[]): Promise<string>;
  /** A fresh folder of this client. */
  folder(): Promise<string>;
  /** A fresh repository. @returns its name */
  repository(): Promise<string>;
}

export interface ClientOptions {
  /** Settings of the program, given its home. */
  environment?: (home: string, registry: TestRegistry) => Record<string, string>;
  /** Before the first test: logging in, for most. */
  prepare?: (client: Client) => Promise<unknown>;
  /** Said when it is missing. */
  want?: string;
  /** For clients that never touch a layer. */
  stores?: StoreName[];
}

/** The promises of one client program over both stores; where it is missing they are skipped aloud. */
export function describeClient(
  name: string,
  program: string | undefined,
  promises: (client: Client) => void,
  { environment, prepare, want = name, stores }: ClientOptions = {},
): void {
  describeWhere(program !== undefined, `the client ${name}`, want, () => {
    const describeThem: typeof describeEachStore = stores
      ? (what, over) => stores.forEach((store) => describe(`${what} (${store})`, () => over(store)))
      : describeEachStore;
    describeThem('pushes and pulls', (store) => {
      let registry: TestRegistry;
      let home: string;
      const runWith = async (input: string, ...args: string[]): Promise<string> => {
        const env = {
          HOME: home,
          DOCKER_CONFIG: home,
          ...environment?.(home, registry),
        };
        return (await runProgram(program!, args, { cwd: home, env, input })).trimEnd();
      };
      const client: Client = {
        get registry() {
          return registry;
        },
        get host() {
          return new URL(registry.url).host;
        },
        get password() {
          return Buffer.from(registry.token, 'base64').toString().slice('AWS:'.length);
        },
        get home() {
          return home;
        },
        run: (...args) => runWith('', ...args),
        runWith,
        async folder() {
          const folder = join(home, randomUUID());
          await mkdir(folder);
          return folder;
        },
        repository: () => createRepository(registry.ecr),
      };

      beforeAll(async () => {
        home = await mkdtemp(join(tmpdir(), 'stowage-client-'));
        await chmod(home, 0o755);
        registry = await startRegistry({ store, config: storeUnderAnotherName(store) });
        await prepare?.(client);
      });

      afterAll(async () => {
        await registry?.close();
        await rm(home, { recursive: true, force: true });
      });

      promises(client);
    });
  });
}

/** How often the bytes of layers were stored so far: a mount does not. */
export function storedLayers({ registry }: Client): Promise<number> {
  return registry.prisma.upload.count({ where: { state: 'completed' } });
}

/** HTTP status of a manifest. */
export async function manifestStatus(client: Client, repository: string, reference: string): Promise<number> {
  const path = `/v2/${repository}/manifests/${reference}`;
  return (await client.registry.fetchOci(path, { method: 'HEAD' })).status;
}
