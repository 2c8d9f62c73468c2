import { createHash } from 'node:crypto';
import { BlobMissing } from '../../../blob-store/blob-store.js';

/** The bytes are not those the record tells of. */
export class LayerDamaged extends Error {
  override readonly name = 'LayerDamaged';

  constructor(readonly key: string) {
    super(`The bytes of ${key} are not those of its digest`);
  }
}

/** The same bytes, ending in LayerDamaged unless they are the layer's. */
export async function* verified(
  bytes: AsyncIterable<unknown>,
  layer: { key: string; sha256: string },
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) {
    hash.update(chunk as Buffer);
    yield chunk as Buffer;
  }
  if (hash.digest('hex') !== layer.sha256) throw new LayerDamaged(layer.key);
}

/** Whether a layer cannot be had, however often one asks: gone as a whole or in part, or other bytes. */
export function isLost(error: unknown): boolean {
  return (
    error instanceof BlobMissing ||
    error instanceof LayerDamaged ||
    (error as NodeJS.ErrnoException).code === 'ENOENT'
  );
}
