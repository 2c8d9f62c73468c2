import type { IncomingMessage, ServerResponse } from 'node:http';

/** Bytes of a body that are still read when the answer is on its way, and for how many milliseconds. */
const MOST_DRAINED_BYTES = 8 * 1024 * 1024;
const DRAIN_PATIENCE = 15_000;

const drained = new WeakSet<IncomingMessage>();

/**
 * Reads on a little when the answer is sent before the body is in, so that the client finds the answer instead of a reset, and
 * hangs up on one that keeps sending: the rest of a layer is not worth its bandwidth. To be called before the answer is
 * sent, since Node then drops what nobody reads, however much that is, and tells nobody of it.
 */
export function drainAtMost(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = response;
  if (request.complete || request.destroyed || !socket || drained.has(request)) return;
  drained.add(request);
  const before = socket.bytesRead;
  const hangUp = (): void => void (request.complete || socket.destroy());
  const timer = setTimeout(hangUp, DRAIN_PATIENCE).unref();
  request.once('close', () => clearTimeout(timer));
  request.on('data', () => {
    if (socket.bytesRead - before > MOST_DRAINED_BYTES) hangUp();
  });
  request.resume();
}
