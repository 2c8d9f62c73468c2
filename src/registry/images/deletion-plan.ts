import type { ImageIdentifier } from '../../domain/image-reference.js';

export type Removed =
  | { outcome: 'removed'; digest: string; tags: string[] }
  | { outcome: 'missing' | 'tag-mismatch' }
  | { outcome: 'referenced'; parents: string[] };

/** An image as it stands before the deletion. */
export interface DeletionCandidate {
  id: bigint;
  digest: string;
  /** In tagging order. */
  tags: string[];
  /** Images that name this one, in push order. */
  parents: { id: bigint; digest: string }[];
}

export interface DeletionPlan {
  /** One for each identifier, in their order. */
  outcomes: Removed[];
  /** Tags that go from images that stay. */
  tags: string[];
  images: bigint[];
}

/**
 * What deleting the named images one after the other amounts to. By tag the tag goes, and the image with its last tag unless
 * `keepUntagged`; by digest the image goes with all its tags. An image another one names stays, except that an index and the
 * images it names can go together, in any order: what was refused for that reason is looked at again after every removal.
 */
export function planDeletion(
  candidates: DeletionCandidate[],
  identifiers: ImageIdentifier[],
  { keepUntagged }: { keepUntagged: boolean },
): DeletionPlan {
  const standing = new Map(candidates.map((image) => [image.id, { ...image }]));
  const untagged: string[] = [];
  const gone = new Set<bigint>();

  const remove = ({ digest, tag }: ImageIdentifier): Removed => {
    const image = [...standing.values()].find((candidate) =>
      digest === undefined ? candidate.tags.includes(tag!) : candidate.digest === digest,
    );
    if (!image) return { outcome: 'missing' };
    if (tag !== undefined && !image.tags.includes(tag)) return { outcome: 'tag-mismatch' };
    if (digest === undefined && (image.tags.length > 1 || keepUntagged)) {
      image.tags = image.tags.filter((other) => other !== tag);
      untagged.push(tag!);
      return { outcome: 'removed', digest: image.digest, tags: [tag!] };
    }
    const parents = image.parents.filter(({ id }) => !gone.has(id));
    if (parents.length > 0) return { outcome: 'referenced', parents: parents.map((parent) => parent.digest) };
    standing.delete(image.id);
    gone.add(image.id);
    return { outcome: 'removed', digest: image.digest, tags: image.tags };
  };

  const outcomes = new Map<ImageIdentifier, Removed>();
  let waiting = identifiers;
  for (let progress = true; progress && waiting.length > 0;) {
    for (const identifier of waiting) outcomes.set(identifier, remove(identifier));
    const referenced = waiting.filter((identifier) => outcomes.get(identifier)!.outcome === 'referenced');
    progress = referenced.length < waiting.length;
    waiting = referenced;
  }
  return {
    outcomes: identifiers.map((identifier) => outcomes.get(identifier)!),
    tags: untagged.filter((tag) => !isOfGone(candidates, gone, tag)),
    images: [...gone],
  };
}

function isOfGone(candidates: DeletionCandidate[], gone: Set<bigint>, tag: string): boolean {
  return candidates.some(({ id, tags }) => gone.has(id) && tags.includes(tag));
}
