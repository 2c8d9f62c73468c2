/** What can be wrong. */
export type FindingKind =
  // Layers and their objects.
  | 'damaged-layer'
  | 'missing-object'
  | 'wrong-size'
  | 'wrong-bytes'
  | 'unreadable-object'
  | 'whole-again'
  | 'orphaned-object'
  // Uploads that are not finished.
  | 'orphaned-upload'
  | 'upload-bytes'
  | 'upload-tails'
  // Images.
  | 'manifest-digest'
  | 'manifest-unreadable'
  | 'missing-reference'
  | 'surplus-reference'
  | 'dangling-reference'
  // Counters.
  | 'repository-counters'
  | 'registry-counter';

/** One thing that is not as it should be. */
export interface Finding {
  kind: FindingKind;
  /** In a sentence. */
  what: string;
  /** ARNs of the repositories concerned; at most {@link MOST_REPOSITORIES}. */
  repositories?: string[];
  /** Of the layer or image. */
  digest?: string;
  /** Of the object in the store. */
  key?: string;
  upload?: string;
  recordedBytes?: number;
  foundBytes?: number;
  /** What a repair does; null: nothing that is safe. */
  repair: string | null;
  /** Whether it did; absent where none was asked for. */
  repaired?: boolean;
  /** It was found before, and all that can be done was done. */
  known?: true;
}

export const MOST_REPOSITORIES = 100;

/** A finding and its repair. */
export interface Fault {
  finding: Finding;
  /** @returns false when it was not there any more, or could not be repaired */
  mend?: () => Promise<boolean>;
}

/** What was looked at, counted as the check goes on. */
export interface Tally {
  layers: number;
  objects: number;
  /** Objects and unfinished uploads without a record that are too young to be called orphans. */
  inFlight: number;
  openUploads: number;
  images: number;
  deletedImages: number;
  repositories: number;
  hashedLayers: number;
  hashedBytes: number;
}

/** One run over everything, as its checks share it. */
export interface Inspection {
  startedAt: Date;
  signal: AbortSignal;
  tally: Tally;
  /** Rows of layers that something was found about already. */
  reported: { add(id: bigint): void; has(id: bigint): boolean };
}
