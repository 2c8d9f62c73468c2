import type { Readable } from 'node:stream';
import type { ByteRange } from '../domain/byte-range.js';
import type { NamedObjects } from './named-objects.js';

/** Nest token of the {@link BlobStore} in use. */
export const BLOB_STORE = Symbol('BLOB_STORE');

/** Nest token of {@link OpenLayerFolder}. */
export const OPEN_LAYER_FOLDER = Symbol('OPEN_LAYER_FOLDER');

/** Opens a folder laid out as the filesystem store's, wherever the store in use keeps its bytes: for backups. */
export type OpenLayerFolder = (folder: string) => BlobStore;

/**
 * What a driver needs to go on with an unfinished object: plain JSON in the driver's own shape, kept in the upload's row.
 * The row is the only truth; a driver never lists the store to find out what it holds.
 */
export type StagedBlob = { readonly [member: string]: unknown };

export interface AppendSource {
  bytes: AsyncIterable<Buffer>;
  /** The bytes are in memory and accounted for already; the driver need not reserve any for them. */
  inMemory: boolean;
  /** CRC-32 of all bytes, where it is known already: it need not be computed again for a store that takes them as they are. */
  crc32?: number;
  /** Nobody reads the bytes once they are stored: the driver may give the memory of each piece back then. */
  isLastUse?: boolean;
  /** Ends the source, which must fail with the reason, when its client is too slow for the memory it takes. */
  abandon?: (reason: Error) => void;
}

export interface AppendContext {
  /**
   * Takes store part numbers nobody used before, for this attempt alone: a retry or the loser of a race can then never
   * overwrite a part that is recorded. Rejects when the upload's lease was lost.
   * @returns the first of `count` consecutive numbers
   */
  takePartNumbers(count: number): Promise<number>;
  signal: AbortSignal;
}

export interface Appended {
  /** New state to record; null while nothing is in the store yet. */
  staged: StagedBlob | null;
  /** Last bytes of the source, too few for the store; the caller keeps them and sends them again in front of the next ones. */
  rest: Buffer[];
  restBytes: number;
}

export interface Committed {
  key: string;
  /**
   * False when an earlier attempt, whose reply or record was lost, made the object: it has the right size, and whether it has
   * the right bytes must be read.
   */
  certain: boolean;
}

export interface StoredObject {
  key: string;
  sizeBytes: number;
  modifiedAt: Date;
}

export interface UnfinishedObject {
  staged: StagedBlob;
  startedAt: Date;
}

/**
 * Where bytes live. Knows keys and bytes; no repositories, no digests. Everything acknowledged is durable when a promise
 * resolves; every failure rejects and leaves recorded state untouched.
 */
export interface BlobStore {
  /** What is kept here beside the layers. */
  readonly named: NamedObjects;
  /** Stores bytes behind those of `staged` (null: the first ones). Every byte of the source ends in the store or in `rest`. */
  append(staged: StagedBlob | null, source: AppendSource, context: AppendContext): Promise<Appended>;
  /**
   * Makes the staged bytes, followed by `rest`, one object. With nothing staged that is a single write. May be repeated, with
   * another `rest` too, until its result is recorded.
   * @throws BlobMissing when the staged bytes are gone
   */
  commit(staged: StagedBlob | null, rest: Buffer[], context: AppendContext): Promise<Committed>;
  /**
   * The object an earlier commit made of the staged bytes, where that ends their being staged; whether it holds the right
   * bytes must be read.
   */
  madeOf?(staged: StagedBlob): Promise<{ key: string; sizeBytes: number } | null>;
  /** Drops what only a repeated commit would have needed; called once the commit is recorded. */
  settle?(staged: StagedBlob): Promise<void>;
  /** Drops an unfinished object; succeeds when it is gone already. */
  discard(staged: StagedBlob): Promise<void>;
  /**
   * @param sizeBytes of the whole object, where it is known: a store that announces another is refused
   * @throws BlobMissing
   */
  read(key: string, range?: ByteRange, sizeBytes?: number): Promise<Readable>;
  /**
   * The same bytes in pieces of memory that is used again once `sink` resolves, so that sending them costs no more memory than
   * two pieces; absent where the bytes come over a network anyway. Nothing is sunk before the object is found.
   * @throws as {@link read}; what `sink` rejects with
   */
  send?(
    key: string,
    range: ByteRange | undefined,
    sizeBytes: number,
    sink: (piece: Buffer) => Promise<void>,
  ): Promise<void>;
  /** The object as it is in the store now, or null when there is none. */
  find(key: string): Promise<StoredObject | null>;
  /**
   * Writes a whole object under the key its row names already: for restores and backups, where nobody else writes. When the bytes
   * end in an error there is no object, and an earlier one of this key is as it was.
   */
  put(key: string, bytes: AsyncIterable<Buffer>): Promise<void>;
  /**
   * Makes the object one of another layer folder without moving a byte; absent where the store cannot.
   * @returns false where the folder is on another filesystem, or on one that has no links
   * @throws BlobMissing
   */
  linkInto?(folder: string, key: string): Promise<boolean>;
  /** Succeeds for keys that are gone already. */
  remove(keys: string[]): Promise<void>;
  /** The name {@link identify} gave this store, or null for a store nobody used yet. */
  identity(): Promise<string | null>;
  identify(name: string): Promise<void>;
  /** Rejects when the store does not answer. */
  check(): Promise<void>;
  /** Everything committed, in key order, for the collector. */
  objects(): AsyncIterable<StoredObject>;
  /** Everything begun and not committed, for the collector. */
  unfinished(): AsyncIterable<UnfinishedObject>;
  /**
   * Bytes of this staged state that are in the store as they were recorded; null when the unfinished object is gone. For the
   * check of integrity alone: it asks the store what the row knows.
   */
  stagedBytes(staged: StagedBlob): Promise<number | null>;
  /** Whether two staged states belong to the same unfinished object. */
  sameUnfinished(one: StagedBlob, other: StagedBlob): boolean;
  /** A URL for a plain HTTP GET, with Range, without credentials; absent where the store cannot. */
  downloadUrl?(key: string, expiresInSeconds: number): Promise<string>;
}

/** The store has no such object. */
export class BlobMissing extends Error {
  constructor(readonly key: string) {
    super(`The blob store has no object ${key}`);
    this.name = 'BlobMissing';
  }
}
