import { randomBytes } from 'node:crypto';
import { type NamedObject, RECORDS } from '../../../blob-store/named-objects.js';

/**
 * Names that sort in the order their contents were read from the database:
 *
 *   records/<order>-<nonce>.ndjson.gz               what changed since the batch before
 *   records/<order>-<nonce>.full-<part>.ndjson.gz   part of a full set: everything there was
 *   records/<order>-<nonce>.full-end.json           … which counts once this is there
 *
 * The order is the database's clock in milliseconds, or one more than the last name when that clock went back.
 */
const NAME = /^records\/(\d{15})-([0-9a-f]{8})\.(?:ndjson\.gz|full-(\d{6})\.ndjson\.gz|full-(end)\.json)$/;

export interface FullSetName {
  part(number: number): string;
  end: string;
}

export function batchName(order: number): string {
  return `${stem(order)}.ndjson.gz`;
}

export function fullSetName(order: number): FullSetName {
  const own = stem(order);
  return {
    part: (number) => `${own}.full-${String(number).padStart(6, '0')}.ndjson.gz`,
    end: `${own}.full-end.json`,
  };
}

function stem(order: number): string {
  return `${RECORDS}${String(order).padStart(15, '0')}-${randomBytes(4).toString('hex')}`;
}

/** What the names in the store amount to. */
export interface RecordContents {
  /** The newest full set that is whole. */
  fullSet: { order: number; parts: string[]; end: string; bytes: number } | null;
  /** Batches written after it, in order; without one, all there are. */
  batches: string[];
  batchBytes: number;
  /** Nobody needs these any more. */
  superseded: string[];
  lastOrder: number;
}

/** @param objects everything under {@link RECORDS}, in byte order of the names */
export function contentsOf(objects: NamedObject[]): RecordContents {
  const named = objects.flatMap(({ name, sizeBytes }) => {
    const [, order, nonce, part, end] = NAME.exec(name) ?? [];
    if (order === undefined) return [];
    const kind = end ? 'end' : part ? 'part' : 'batch';
    return [{ name, sizeBytes, kind, order: Number(order), nonce }] as const;
  });
  const end = named.findLast(({ kind }) => kind === 'end');
  const isOfSet = (object: (typeof named)[number]): boolean =>
    object.kind !== 'batch' && object.order === end?.order && object.nonce === end.nonce;
  const parts = named.filter((object) => object.kind === 'part' && isOfSet(object));
  const since = end?.order ?? -1;
  const batches = named.filter(({ kind, order }) => kind === 'batch' && order > since);
  return {
    fullSet: end
      ? { order: end.order, parts: parts.map(({ name }) => name), end: end.name, bytes: bytesOf(parts) }
      : null,
    batches: batches.map(({ name }) => name),
    batchBytes: bytesOf(batches),
    superseded: named.filter((object) => object.order <= since && !isOfSet(object)).map(({ name }) => name),
    lastOrder: named.at(-1)?.order ?? 0,
  };
}

function bytesOf(objects: { sizeBytes: number }[]): number {
  return objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
