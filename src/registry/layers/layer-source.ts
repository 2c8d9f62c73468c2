import type { Readable } from 'node:stream';
import type { ByteRange } from '../../domain/byte-range.js';

/** Where the bytes of one layer come from. */
export interface LayerSource {
  read(range?: ByteRange): Promise<Readable>;
  /** See `BlobStore.send`; null where the store cannot. */
  send: ((range: ByteRange | undefined, sink: (piece: Buffer) => Promise<void>) => Promise<void>) | null;
}
