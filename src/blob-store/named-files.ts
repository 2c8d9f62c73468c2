import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { entries, makeDurableFolder, syncFolder, writeDurably } from './durable-files.js';
import type { NamedObject, NamedObjects } from './named-objects.js';

/** Named objects as files below the root of the filesystem store. */
export class NamedFiles implements NamedObjects {
  /**
   * @param root absolute folder
   * @param drafts folder on the same filesystem for files that are being written; what a crash leaves there is the collector's
   */
  constructor(
    private readonly root: string,
    private readonly drafts: string,
  ) {}

  async write(name: string, bytes: Buffer): Promise<void> {
    const path = join(this.root, name);
    const draft = join(this.drafts, randomUUID());
    await makeDurableFolder(this.drafts, this.root);
    await makeDurableFolder(dirname(path), this.root);
    await writeDurably(draft, bytes);
    await rename(draft, path);
    await syncFolder(dirname(path));
  }

  async read(name: string): Promise<Buffer | null> {
    return readFile(join(this.root, name)).catch(orNull);
  }

  async *list(prefix: string): AsyncIterable<NamedObject> {
    const folder = join(this.root, dirname(`${prefix}.`));
    for await (const name of entries(folder)) {
      const found = await stat(join(folder, name)).catch(orNull);
      if (found?.isFile()) yield { name: prefix + name, sizeBytes: found.size };
    }
  }

  async remove(names: string[]): Promise<void> {
    for (const name of names) await rm(join(this.root, name), { force: true });
  }
}

function orNull(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}
