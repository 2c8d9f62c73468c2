import type { RegistryAddress } from '../../../domain/registry-address.js';

/** An image that was deleted and can be brought back, as long as its row stands. */
export interface DeletedImage {
  id: bigint;
  registry: RegistryAddress;
  repositoryName: string;
  digest: string;
  mediaType: string;
  sizeBytes: number;
  /** Those it had when it was deleted, in tagging order. */
  tags: string[];
  /** Digests of the images an index names. */
  children: string[];
  pushedAt: Date;
  deletedAt: Date;
}

/** Which deleted images are meant; all when nothing narrows them down. */
export interface DeletedSelection {
  digests?: string[] | undefined;
  tag?: string | undefined;
  /** Deleted at this time or later. */
  since?: Date | undefined;
}

/** What became of one tag of an image that came back. */
export type TagRestored =
  | { tag: string; outcome: 'put' | 'there' }
  | { tag: string; outcome: 'taken' | 'immutable'; by: string }
  | { tag: string; outcome: 'too-many' };

/** What bringing one image back did, or what stood against it. */
export type Restored =
  | {
      outcome: 'restored' | 'there-already';
      tags: TagRestored[];
      /** Layers whose bytes were found damaged: the image can be pulled once they are pushed again. */
      damaged: string[];
    }
  | { outcome: 'children-missing'; digests: string[] }
  | { outcome: 'gone' | 'repository-gone' }
  | {
      outcome: 'exceeded';
      what: 'images' | 'bytes of the repository' | 'bytes of the registry';
      limit: number;
    };
