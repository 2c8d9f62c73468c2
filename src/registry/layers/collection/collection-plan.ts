/** One thing the collector would remove now, and why. */
export interface PlannedRemoval {
  what: 'upload' | 'deleted-image' | 'layer' | 'blob' | 'object' | 'unfinished-object';
  /** `<account>/<Region>`. */
  registry?: string;
  repository?: string;
  digest?: string;
  upload?: string;
  /** Of the object in the store. */
  key?: string;
  /** Null where nobody knows without asking the store. */
  bytes: number | null;
  /** When it became what it is removed for. */
  since: Date;
  reason: string;
}
