import type { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { ByteRange } from '../../domain/byte-range.js';
import { rangeLength } from '../../domain/byte-range.js';
import { requestedRange } from '../../protocols/oci/byte-range-header.js';

/**
 * Answers a GET with bytes of a layer, whole (200) or in part (206). A store that fails in the middle ends the connection,
 * so that the client sees a truncated body and never a complete wrong one.
 * @throws RegistryError RangeInvalid
 */
export async function deliver(
  reply: FastifyReply,
  layer: { sizeBytes: number; range: string | undefined },
  read: (range?: ByteRange) => Promise<Readable>,
): Promise<void> {
  const range = requestedRange(layer.range, layer.sizeBytes);
  const bytes = await read(range ?? undefined);
  // The client may be gone already, or go before the last byte; the store's connection must not wait for it.
  if (reply.raw.destroyed) bytes.destroy();
  else reply.raw.once('close', () => bytes.destroy());
  void reply.header('accept-ranges', 'bytes').header('content-type', 'application/octet-stream');
  if (range) {
    void reply.code(206).header('content-range', `bytes ${range.first}-${range.last}/${layer.sizeBytes}`);
    void reply.header('content-length', rangeLength(range));
  } else {
    void reply.header('content-length', layer.sizeBytes);
  }
  await reply.send(bytes);
}
