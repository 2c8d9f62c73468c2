/** Files and folders that are there after a power failure: each is synced itself, and so is the folder that names it. */
import { mkdir, open, opendir } from 'node:fs/promises';

export async function makeDurableFolder(folder: string, parent: string): Promise<void> {
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) await syncFolder(parent);
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function writeDurably(path: string, bytes: string | Buffer): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Names in a folder, sorted; none of one that is not there. */
export async function* entries(folder: string): AsyncGenerator<string> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(folder)) names.push(entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  yield* names.sort();
}
