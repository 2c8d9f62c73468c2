import type { Readable } from 'node:stream';
import { RegistryError } from '../domain/registry-error.js';
import { frontEndError } from './wire-error.js';

export interface BodyBounds {
  /** What the request announced; absent when the body is chunked. Bytes. */
  contentLength?: number | undefined;
  /** Most bytes the body may have. */
  limit: number;
  signal: AbortSignal;
}

/**
 * Passes a request body on, chunk by chunk as it arrives. The stream is left alone after a failure, not destroyed: its
 * socket is still needed for the answer.
 * @throws RegistryError RequestEntityTooLarge beyond the limit, MalformedRequest for a body cut short, or the signal's reason
 */
export function readBody(
  stream: Readable,
  bounds: BodyBounds,
  onChunk: (chunk: Buffer) => void,
): Promise<void> {
  const { contentLength, limit, signal } = bounds;
  return new Promise((resolve, reject) => {
    let received = 0;
    const settle = (error?: unknown): void => {
      stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      if (error === undefined) return resolve();
      stream.pause();
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the signal's reason is the caller's choice
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      received += chunk.length;
      if (received > limit) return settle(frontEndError('RequestEntityTooLarge'));
      try {
        onChunk(chunk);
      } catch (error) {
        settle(error);
      }
    };
    const onEnd = (): void =>
      settle(
        contentLength !== undefined && received !== contentLength
          ? cutShort(received, contentLength)
          : undefined,
      );
    const onError = (error: Error): void =>
      settle(error instanceof RegistryError ? error : cutShort(received, contentLength, error));
    const onClose = (): void => settle(cutShort(received, contentLength));
    const onAbort = (): void => settle(signal.reason);

    if (contentLength !== undefined && contentLength > limit)
      return reject(frontEndError('RequestEntityTooLarge'));
    if (signal.aborted) return onAbort();
    if (stream.destroyed) return onClose();
    signal.addEventListener('abort', onAbort, { once: true });
    stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}

function cutShort(received: number, announced: number | undefined, cause?: Error): RegistryError {
  const of = announced === undefined ? '' : ` of ${announced}`;
  return new RegistryError(
    'MalformedRequest',
    `The request body ended after ${received}${of} bytes`,
    {},
    { cause },
  );
}
