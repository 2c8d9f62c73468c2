import type { Readable } from 'node:stream';
import type { ByteBudget, Reservation } from '../blob-store/byte-budget.js';
import { CompactChunks } from '../blob-store/compact-chunks.js';
import { RegistryError } from '../domain/registry-error.js';
import { frontEndError } from './wire-error.js';

export interface BodyBounds {
  /** What the request announced; absent when the body is chunked. Bytes. */
  contentLength?: number | undefined;
  /** Most bytes the body may have. */
  limit: number;
  signal: AbortSignal;
}

/** Memory for a body that stays there. */
export interface BodyMemory {
  budget: ByteBudget;
  /** What the body can take at most. Bytes. */
  bytes: number;
  /** What one byte of the body takes. */
  perByte: number;
}

/** Read before memory is asked for: who sends no more than this keeps nobody waiting. Bytes. */
const FIRST_BYTES = 64 * 1024;

/**
 * Reads a body that stays in memory, or at least something made of it. Memory is reserved once there are more than a few
 * bytes of it, and until then nothing is passed on.
 * @returns the reservation, which the caller must release; null for a body not worth one
 * @throws as {@link readBody}, and RegistryError ServiceUnavailable when others need the memory that a slow client holds
 */
export async function readIntoMemory(
  stream: Readable,
  bounds: BodyBounds,
  { budget, bytes, perByte }: BodyMemory,
  onChunk: (chunk: Buffer) => void,
): Promise<Reservation | null> {
  const { signal } = bounds;
  const first = new CompactChunks();
  const held: Buffer[] = [];
  const ended = new AbortController();
  let received = 0;
  let reservation: Reservation | null = null;
  let failed = false;
  const passOn = (): void => {
    held.push(...first.rest());
    for (const chunk of held.splice(0)) onChunk(chunk);
  };
  const admit = async (): Promise<void> => {
    const admitted = await budget.reserve(bytes, signal);
    // Nobody is left to release it.
    if (failed) return admitted.release();
    reservation = admitted;
    reservation.follow({
      usedBytes: () => Math.min(bytes, Math.ceil(received * perByte)),
      end: (reason) => ended.abort(reason),
    });
    passOn();
  };
  const receive = (chunk: Buffer): Promise<void> | undefined => {
    received += chunk.length;
    if (reservation === null) {
      held.push(...first.add(chunk));
      return received > FIRST_BYTES ? admit() : undefined;
    }
    reservation.arrived(chunk.length);
    onChunk(chunk);
    if (reservation.missingBytes > 0) return reservation.catchUp(signal);
    reservation.await();
    return undefined;
  };
  try {
    await readBody(stream, bounds, receive, ended.signal);
    passOn();
    (reservation as Reservation | null)?.filled();
    return reservation;
  } catch (error) {
    failed = true;
    (reservation as Reservation | null)?.release();
    throw error;
  }
}

/**
 * Passes a request body on, chunk by chunk as it arrives, and waits for whoever takes his time with one. The stream is left
 * alone after a failure, not destroyed: its socket is still needed for the answer.
 * @throws RegistryError RequestEntityTooLarge beyond the limit, MalformedRequest for a body cut short, or a signal's reason
 */
export function readBody(
  stream: Readable,
  bounds: BodyBounds,
  onChunk: (chunk: Buffer) => Promise<void> | void,
  ended?: AbortSignal,
): Promise<void> {
  const { contentLength, limit, signal } = bounds;
  return new Promise((resolve, reject) => {
    let received = 0;
    let settled = false;
    /** Whoever has the last chunk is not done with it. */
    let taking = false;
    let atEnd = false;
    const settle = (error?: unknown): void => {
      if (settled) return;
      settled = true;
      stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      ended?.removeEventListener('abort', onEnded);
      if (error === undefined) return resolve();
      stream.pause();
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the signal's reason is the caller's choice
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      received += chunk.length;
      if (received > limit) return settle(frontEndError('RequestEntityTooLarge'));
      try {
        const taken = onChunk(chunk);
        if (taken !== undefined) waitFor(taken);
      } catch (error) {
        settle(error);
      }
    };
    const waitFor = (taken: Promise<void>): void => {
      stream.pause();
      taking = true;
      taken.then(() => {
        taking = false;
        if (atEnd) onEnd();
        else if (!settled) stream.resume();
      }, settle);
    };
    const onEnd = (): void => {
      atEnd = true;
      // A stream ends even while it is paused, once its last chunk is out.
      if (taking) return;
      settle(
        contentLength !== undefined && received !== contentLength
          ? cutShort(received, contentLength)
          : undefined,
      );
    };
    const onError = (error: Error): void =>
      settle(error instanceof RegistryError ? error : cutShort(received, contentLength, error));
    const onClose = (): void => {
      if (!atEnd) settle(cutShort(received, contentLength));
    };
    const onAbort = (): void => settle(signal.reason);
    const onEnded = (): void => settle(ended!.reason);

    if (contentLength !== undefined && contentLength > limit)
      return reject(frontEndError('RequestEntityTooLarge'));
    if (signal.aborted) return onAbort();
    if (stream.destroyed) return onClose();
    signal.addEventListener('abort', onAbort, { once: true });
    ended?.addEventListener('abort', onEnded, { once: true });
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
