import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import { type DeletionCandidate, type DeletionPlan, planDeletion, type Removed } from './deletion-plan.js';

const KINDS = { keepUntagged: false };

/** One deletion after the other, each in the state the one before left, as the rules are worded. */
function oneByOne(
  images: DeletionCandidate[],
  identifiers: ImageIdentifier[],
  keepUntagged: boolean,
): Removed[] {
  let standing = images.map((image) => ({ ...image, tags: [...image.tags] }));
  const remove = ({ digest, tag }: ImageIdentifier): Removed => {
    const image = standing.find((one) => (digest ? one.digest === digest : one.tags.includes(tag!)));
    if (!image) return { outcome: 'missing' };
    if (tag && !image.tags.includes(tag)) return { outcome: 'tag-mismatch' };
    if (!digest && (image.tags.length > 1 || keepUntagged)) {
      image.tags = image.tags.filter((one) => one !== tag);
      return { outcome: 'removed', digest: image.digest, tags: [tag!] };
    }
    const parents = image.parents.filter(({ id }) => standing.some((one) => one.id === id));
    if (parents.length > 0) return { outcome: 'referenced', parents: parents.map((one) => one.digest) };
    standing = standing.filter((one) => one !== image);
    return { outcome: 'removed', digest: image.digest, tags: image.tags };
  };
  const outcomes = identifiers.map(remove);
  for (let removed = true; removed;) {
    removed = false;
    for (const [index, identifier] of identifiers.entries()) {
      if (outcomes[index]!.outcome !== 'referenced') continue;
      outcomes[index] = remove(identifier);
      removed ||= outcomes[index].outcome !== 'referenced';
    }
  }
  return outcomes;
}

describe('the plan of a deletion', () => {
  const image = (id: number, tags: string[], parents: number[] = []): DeletionCandidate => ({
    id: BigInt(id),
    digest: `d${id}`,
    tags,
    parents: parents.map((parent) => ({ id: BigInt(parent), digest: `d${parent}` })),
  });

  it('lets an image go with its last tag, and remembers nothing of tags that go with it', () => {
    const plan = planDeletion([image(1, ['a', 'b'])], [{ tag: 'a' }, { tag: 'b' }, { tag: 'a' }], KINDS);
    expect(plan).toEqual({
      outcomes: [
        { outcome: 'removed', digest: 'd1', tags: ['a'] },
        { outcome: 'removed', digest: 'd1', tags: ['b'] },
        { outcome: 'missing' },
      ],
      tags: [],
      images: [1n],
    } satisfies DeletionPlan);
  });

  it('takes tags from images that stay', () => {
    const images = [image(1, ['a', 'b']), image(2, ['c'])];
    expect(planDeletion(images, [{ tag: 'a' }], KINDS)).toMatchObject({ tags: ['a'], images: [] });
    expect(planDeletion(images, [{ tag: 'c' }], { keepUntagged: true })).toMatchObject({
      tags: ['c'],
      images: [],
    });
  });

  it('says the same as deletions one by one, whatever is named in whatever order', () => {
    const TAGS = ['a', 'b', 'c', 'd'];
    const pile = fc
      .tuple(
        fc.array(fc.subarray([0, 1, 2, 3, 4]), { minLength: 5, maxLength: 5 }),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 4, maxLength: 4 }),
      )
      .map(([parents, owners]) =>
        parents.map((named, index) =>
          image(
            index,
            TAGS.filter((_, tag) => owners[tag] === index),
            // An index comes after what it names.
            named.filter((parent) => parent > index),
          ),
        ),
      );
    const identifier = fc.oneof(
      fc.record({ tag: fc.constantFrom(...TAGS, 'none') }),
      fc.record({ digest: fc.constantFrom('d0', 'd1', 'd2', 'd3', 'd4', 'dx') }),
      fc.record({ digest: fc.constantFrom('d0', 'd1', 'd2', 'd3'), tag: fc.constantFrom(...TAGS) }),
    );
    fc.assert(
      fc.property(
        pile,
        fc.array(identifier, { maxLength: 8 }),
        fc.boolean(),
        (images, named, keepUntagged) => {
          const plan = planDeletion(images, named, { keepUntagged });
          expect(plan.outcomes).toEqual(oneByOne(images, named, keepUntagged));
          const gone = plan.images.map((id) => images.find((one) => one.id === id)!);
          for (const { parents } of gone)
            expect(parents.every(({ id }) => plan.images.includes(id))).toBe(true);
          expect(plan.tags.some((tag) => gone.some(({ tags }) => tags.includes(tag)))).toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });
});
