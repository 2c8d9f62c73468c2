/**
 * The service words a failed constraint in two ways: its older shapes are checked by a validator of its own, the others
 * by its framework, which begins with "Member". Both were observed; which shape belongs to which is known for the shapes
 * named here and taken for granted for the rest.
 */
const OWN_WORDING: ReadonlySet<string> = new Set([
  'RepositoryName',
  'RegistryId',
  'ImageTag',
  'ImageManifest',
  'UploadId',
  'LayerDigest',
  'LayerDigestList',
  'LayerPartBlob',
  'PartSize',
]);

/** The grammar of names as messages still quote it; the one that is applied has grown wider since. */
const NAME_GRAMMAR = '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*';

const QUOTED_PATTERN: Readonly<Record<string, string>> = {
  RepositoryName: NAME_GRAMMAR,
  PullThroughCacheRuleRepositoryPrefix: NAME_GRAMMAR,
};

/** Enums whose values messages list in another order than the model. */
const QUOTED_ENUM: Readonly<Record<string, readonly string[]>> = {
  ImageTagMutability: ['IMMUTABLE', 'MUTABLE', 'MUTABLE_WITH_EXCLUSION', 'IMMUTABLE_WITH_EXCLUSION'],
};

/** What follows "failed to satisfy constraint:" for a value of the named shape. */
export const phraseOf = {
  absent: (): string => 'must not be null',
  tooShort: (shape: string, min: number): string =>
    `${subject(shape)} have length greater than or equal to ${min}`,
  tooLong: (shape: string, max: number): string =>
    `${subject(shape)} have length less than or equal to ${max}`,
  tooSmall: (shape: string, min: number): string =>
    `${subject(shape)} have value greater than or equal to ${min}`,
  tooLarge: (shape: string, max: number): string =>
    `${subject(shape)} have value less than or equal to ${max}`,
  notInEnum: (shape: string, values: readonly string[]): string =>
    `Member must satisfy enum value set: [${(QUOTED_ENUM[shape] ?? values).join(', ')}]`,
  mismatch(shape: string, pattern: string): string {
    const quoted = QUOTED_PATTERN[shape] ?? pattern;
    // The one message of this family that was seen without quotes around its expression.
    if (shape === 'RegistryId') return `must satisfy regular expression ${quoted}`;
    return OWN_WORDING.has(shape)
      ? `must satisfy regular expression '${quoted}'`
      : `Member must satisfy regular expression pattern: ${quoted}`;
  },
};

function subject(shape: string): string {
  return OWN_WORDING.has(shape) ? 'must' : 'Member must';
}
