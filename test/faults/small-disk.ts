import { type FileHandle, open, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { describeWhere, succeeds } from '../support/programs.js';
import type { RegistryOptions } from '../support/test-environment.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { MEBIBYTE } from '../support/pushes.js';

/** Tests of a registry whose disk can be filled; without the right to mount one they are skipped aloud. */
export function describeSmallDisk(name: string, promises: () => void): void {
  const canMount =
    process.platform === 'linux' && succeeds('unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt');
  describeWhere(canMount, name, 'the right to mount a filesystem (root on Linux)', promises);
}

export interface SmallDisk {
  registry: RegistryProcess;
  /** Fills the disk but for so many bytes. */
  fill(leaveBytes: number): Promise<void>;
  free(): Promise<void>;
  /** Names of everything in a folder of the data folder, sorted; folders end in a slash. */
  list(folder: string): Promise<string[]>;
  /** What is written in the files of a folder of the data folder. */
  read(folder: string): Promise<string>;
}

/** A registry with a data folder that is a filesystem of its own, which only the service sees and which goes with it. */
export async function startOnSmallDisk(bytes: number, options: RegistryOptions): Promise<SmallDisk> {
  const registry = await startRegistryProcess(options, (command, { dataDir }) => [
    'unshare',
    '--mount',
    'sh',
    '-c',
    `mount -t tmpfs -o size=${bytes},mode=755 tmpfs "$0" && exec "$@"`,
    dataDir,
    ...command,
  ]);
  const path = (...names: string[]): string =>
    join(`/proc/${registry.pid}/root`, registry.environment.dataDir, ...names);
  const ballast = (): string => path('ballast');
  return {
    registry,
    async fill(leaveBytes) {
      const file = await open(ballast(), 'a');
      try {
        const { bavail, bsize } = await statfs(path());
        await append(file, bavail * bsize - leaveBytes);
      } finally {
        await file.close();
      }
    },
    free: () => rm(ballast(), { force: true }),
    async list(folder) {
      const entries = await readdir(path(folder), { recursive: true, withFileTypes: true });
      return entries.map((entry) => entry.name + (entry.isDirectory() ? '/' : '')).toSorted();
    },
    async read(folder) {
      const names = await readdir(path(folder));
      const texts = await Promise.all(names.map((name) => readFile(path(folder, name), 'utf8')));
      return texts.join('\n');
    },
  };
}

async function append(file: FileHandle, bytes: number): Promise<void> {
  const chunk = Buffer.alloc(MEBIBYTE);
  for (let left = bytes; left > 0; left -= chunk.length)
    await file.write(chunk, 0, Math.min(left, chunk.length));
}
