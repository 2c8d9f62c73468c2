import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { Logger } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { rangeLength } from '../../domain/byte-range.js';
import { endUnlessTaken } from '../../protocols/connection-limits.js';
import { requestedRange } from '../../protocols/oci/byte-range-header.js';
import type { LayerSource } from './layer-source.js';

const logger = new Logger('Delivery');

/**
 * Answers a GET with bytes of a layer, whole (200) or in part (206). A store that fails in the middle, or gives fewer bytes or
 * more than the layer has, ends the connection, so that the client sees a truncated body and never a complete wrong one.
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
  endUnlessExact(reply, bytes, length);
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
    endUnlessTaken(raw);
    raw.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders);
  };
  try {
    await send((piece) => {
      if (sent === 0) begin();
      sent += piece.length;
      return written(raw, piece);
    });
  } catch (error) {
    if (sent === 0) throw error;
    raw.destroy();
    return;
  }
  if (sent === 0 && length === 0) begin();
  if (sent === length) raw.end();
  else otherLength(reply, length, sent);
}

/** Resolves when the memory is free again. An answer that waits behind others learns of the end of its connection only there. */
function written(raw: ServerResponse, piece: Buffer): Promise<void> {
  const { socket } = raw.req;
  return new Promise((resolve, reject) => {
    const settle = (error?: Error | null): void => {
      socket.off('close', gone);
      raw.off('close', gone);
      if (error) reject(error);
      else resolve();
    };
    const gone = (): void => settle(new Error('The client is gone'));
    if (socket.destroyed) return gone();
    socket.once('close', gone);
    raw.once('close', gone);
    raw.write(piece, settle);
  });
}

/**
 * Node sends whatever a stream gives under whatever length was announced: fewer bytes leave the client waiting, and more are
 * taken for the next answer.
 */
function endUnlessExact(reply: FastifyReply, bytes: Readable, expectedBytes: number): void {
  let sent = 0;
  const end = (): void => {
    bytes.destroy();
    otherLength(reply, expectedBytes, sent);
  };
  // Paused, so that listening sets nothing in motion before the answer takes the bytes.
  bytes.pause();
  bytes.on('data', (chunk: Buffer) => {
    sent += chunk.length;
    if (sent > expectedBytes) end();
  });
  bytes.once('end', () => {
    if (sent < expectedBytes) end();
  });
}

function otherLength(reply: FastifyReply, expectedBytes: number, sent: number): void {
  const msg = 'The store gave another number of bytes than the layer has; the connection was ended';
  logger.error({ msg, expectedBytes, sent, requestId: reply.request.id });
  reply.raw.destroy();
}
