import { createReadStream } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteRange } from '../domain/byte-range.js';

/** One of the files that make up an object. */
export interface FilePart {
  name: string;
  /** Bytes. */
  size: number;
}

/** Read at once; the default of 64 KiB spends more time between reads than reading. */
export const READ_BYTES = 512 * 1024;
/** Names the parts of a folder that is an object, in their order. */
export const LAYOUT = 'layout.json';

export async function readLayout(folder: string): Promise<FilePart[]> {
  return JSON.parse(await readFile(join(folder, LAYOUT), 'utf8')) as FilePart[];
}

export async function* readParts(
  folder: string,
  parts: FilePart[],
  range?: ByteRange,
): AsyncGenerator<Buffer> {
  for (const { part, first: start, last: end } of within(parts, range)) {
    let missing = end - start + 1;
    const bytes = createReadStream(join(folder, part.name), { start, end, highWaterMark: READ_BYTES });
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      missing -= chunk.length;
      yield chunk;
    }
    if (missing > 0) throw new Error(`The file ${part.name} of a layer lacks ${missing} bytes`);
  }
}

/** Refuses before a byte is out what could only be a part of the layer, or another one. */
export function assertSize(key: string, parts: { size: number }[], sizeBytes: number | undefined): void {
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (sizeBytes !== undefined && size !== sizeBytes)
    throw new Error(`The file of ${key} has ${size} bytes, not ${sizeBytes}`);
}

/** The parts that hold bytes of the range, and which of their bytes. */
export function within<Part extends { size: number }>(
  parts: Part[],
  range?: ByteRange,
): { part: Part; first: number; last: number }[] {
  let partFirst = 0;
  return parts.flatMap((part) => {
    const first = Math.max((range?.first ?? 0) - partFirst, 0);
    const last = Math.min((range?.last ?? Number.MAX_SAFE_INTEGER) - partFirst, part.size - 1);
    partFirst += part.size;
    return first <= last ? [{ part, first, last }] : [];
  });
}

/** Reads one buffer while the other is on its way out. */
export async function sendFile(
  path: string,
  first: number,
  last: number,
  buffers: Buffer[],
  sink: (piece: Buffer) => Promise<void>,
): Promise<void> {
  const file = await open(path, 'r');
  let sending: Promise<void> = Promise.resolve();
  try {
    for (let position = first, turn = 0; position <= last; turn += 1) {
      const buffer = buffers[turn % buffers.length]!;
      const { bytesRead } = await file.read(
        buffer,
        0,
        Math.min(buffer.length, last - position + 1),
        position,
      );
      await sending;
      if (bytesRead === 0) return;
      sending = sink(buffer.subarray(0, bytesRead));
      // Awaited in the next turn; a failure before that is not unhandled.
      sending.catch(() => undefined);
      position += bytesRead;
    }
    await sending;
  } finally {
    await sending.catch(() => undefined);
    await file.close();
  }
}

/** As the files are, whatever the layout says; without one that can be read the object has no bytes. */
export async function sizeOfParts(folder: string): Promise<number> {
  let bytes = 0;
  const layout = await readLayout(folder).catch((error: Error) =>
    error instanceof SyntaxError ? null : orNull(error),
  );
  for (const { name } of layout ?? []) bytes += (await stat(join(folder, name)).catch(orNull))?.size ?? 0;
  return bytes;
}

/** For what may be gone; any other failure is one. */
export function orNull(error: NodeJS.ErrnoException): null {
  if (error.code !== 'ENOENT') throw error;
  return null;
}
