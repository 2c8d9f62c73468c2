import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply } from 'fastify';
import { rangeLength } from '../../domain/byte-range.js';
import { requestedRange } from '../../protocols/oci/byte-range-header.js';
import type { LayerSource } from './layer-source.js';

/**
 * Answers a GET with bytes of a layer, whole (200) or in part (206). A store that fails in the middle ends the connection,
 * so that the client sees a truncated body and never a complete wrong one.
 * @throws RegistryError RangeInvalid
 */
export async function deliver(
  reply: FastifyReply,
  layer: { sizeBytes: number; range: string | undefined },
  source: LayerSource,
): Promise<void> {
  const range = requestedRange(layer.range, layer.sizeBytes) ?? undefined;
  const length = range ? rangeLength(range) : layer.sizeBytes;
  const describe = (): void => {
    void reply.header('accept-ranges', 'bytes').header('content-type', 'application/octet-stream');
    if (range)
      void reply.code(206).header('content-range', `bytes ${range.first}-${range.last}/${layer.sizeBytes}`);
    void reply.header('content-length', length);
  };
  if (source.send) return sendPieces(reply, length, describe, (sink) => source.send!(range, sink));
  const bytes = await source.read(range);
  // The client may be gone already, or go before the last byte; the store's connection must not wait for it.
  if (reply.raw.destroyed) bytes.destroy();
  else reply.raw.once('close', () => bytes.destroy());
  describe();
  await reply.send(bytes);
}

/** Past Fastify's streams, which know no moment at which a piece of memory is free again. */
async function sendPieces(
  reply: FastifyReply,
  length: number,
  describe: () => void,
  send: (sink: (piece: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  const { raw } = reply;
  let sent = 0;
  const begin = (): void => {
    describe();
    void reply.hijack();
    raw.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders);
  };
  try {
    await send((piece) => {
      if (sent === 0) begin();
      sent += piece.length;
      return new Promise((resolve, reject) => {
        raw.write(piece, (error) => (error ? reject(error) : resolve()));
      });
    });
  } catch (error) {
    if (sent === 0) throw error;
    raw.destroy();
    return;
  }
  if (sent === 0 && length === 0) begin();
  if (sent === length) raw.end();
  else raw.destroy();
}
