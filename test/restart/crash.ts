import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RegistryClient } from '../support/registry-client.js';
import type { RegistryProcess } from '../support/registry-process.js';

/** As a power failure: the service and its embedded PostgreSQL at once, with no chance to do anything. */
export async function crash(registry: RegistryProcess): Promise<void> {
  const database = postgresProcesses(registry.environment.dataDir);
  if (database.length === 0) throw new Error('There is no embedded PostgreSQL to kill');
  const service = registry.kill('SIGKILL');
  for (const pid of database) killIfThere(pid);
  await service;
}

export function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // Backends come and go.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The postmaster and its children: all that work in the database's folder. Read from /proc. */
export function postgresProcesses(dataDir: string): number[] {
  const folder = statSync(join(dataDir, 'postgres/data'));
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const { ino, dev } = statSync(`/proc/${pid}/cwd`);
        return (
          ino === folder.ino &&
          dev === folder.dev &&
          readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'postgres'
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** A PATCH whose body is sent bit by bit. */
export interface StreamedPatch {
  /** Resolves when the bytes are with the operating system. */
  write(bytes: Buffer): Promise<void>;
  end(): void;
  /** Status, or the code of the error the connection ended with. */
  readonly outcome: Promise<number | string>;
}

export function streamPatch(registry: RegistryClient, path: string): StreamedPatch {
  const patch: ClientRequest = request(new URL(path, registry.url), {
    method: 'PATCH',
    headers: {
      authorization: `Basic ${registry.token}`,
      'content-type': 'application/octet-stream',
      'transfer-encoding': 'chunked',
    },
  });
  const outcome = Promise.race([
    once(patch, 'response').then(([response]: IncomingMessage[]) => {
      response!.resume();
      return response!.statusCode ?? 0;
    }),
    once(patch, 'error').then(([error]: NodeJS.ErrnoException[]) => error!.code ?? error!.message),
  ]).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
  return {
    outcome,
    write: (bytes) =>
      new Promise((resolve, reject) => patch.write(bytes, (e) => (e ? reject(e) : resolve()))),
    end: () => void patch.end(),
  };
}

/** Begins an upload at the OCI door. @returns its path */
export async function beginOciUpload(registry: RegistryClient, repository: string): Promise<string> {
  const response = await registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  if (response.status !== 202) throw new Error(`POST answered ${response.status}`);
  return response.headers.get('location')!;
}

/** Bytes acknowledged, as GET of the upload tells. */
export async function ociOffset(registry: RegistryClient, path: string): Promise<number> {
  const response = await registry.fetchOci(path);
  if (response.status !== 204) throw new Error(`GET of the upload answered ${response.status}`);
  const last = Number(response.headers.get('range')?.split('-')[1]);
  return last === 0 ? 0 : last + 1;
}

export async function ociPatch(
  registry: RegistryClient,
  path: string,
  bytes: Uint8Array,
  firstByte: number,
): Promise<number> {
  const response = await registry.fetchOci(path, {
    method: 'PATCH',
    headers: { 'content-range': `${firstByte}-${firstByte + bytes.length - 1}` },
    body: Buffer.from(bytes) as Uint8Array<ArrayBuffer>,
  });
  return response.status;
}

export async function ociFinish(registry: RegistryClient, path: string, digest: string): Promise<string> {
  const response = await registry.fetchOci(`${path}?digest=${digest}`, { method: 'PUT' });
  if (response.status !== 201) throw new Error(`PUT answered ${response.status} ${await response.text()}`);
  return response.headers.get('docker-content-digest')!;
}

export async function within(
  milliseconds: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  for (const deadline = Date.now() + milliseconds; !(await condition()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`It did not come about within ${milliseconds} ms`);
  }
}
