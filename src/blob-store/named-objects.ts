/** Prefix of the copy of the records. A store that holds any belongs to the database they were copied from. */
export const RECORDS = 'records/';

export interface NamedObject {
  name: string;
  sizeBytes: number;
}

/**
 * Small whole objects beside the layers, under names of the service's own choice, such as `records/0001`. A write is durable when
 * its promise resolves; nobody ever sees a half-written one. No layer is found here, and none of these among the layers.
 */
export interface NamedObjects {
  /** Replaces an object of this name. */
  write(name: string, bytes: Buffer): Promise<void>;
  /** @returns null when there is none of this name */
  read(name: string): Promise<Buffer | null>;
  /** Everything whose name begins with the prefix, in byte order of the names. The prefix ends with a slash. */
  list(prefix: string): AsyncIterable<NamedObject>;
  /** Succeeds for names that are gone already. */
  remove(names: string[]): Promise<void>;
}
