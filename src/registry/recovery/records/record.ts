import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { z } from 'zod';
import { RecoveryError } from '../recovery-error.js';

/**
 * The copy of the records as it stands in the blob store: gzipped lines of JSON, the first one a header. A thing is told of as a
 * whole each time it changed, so the last line about it holds. Repositories are known by the id of their row, since of a deleted
 * one nothing else is left. No secret is ever part of it.
 */
const FORMAT = 1;

const id = z.int().positive();
const time = z.iso.datetime();
const count = z.int().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const sha512 = z.string().regex(/^[0-9a-f]{128}$/);
const quotas = z.array(z.object({ name: z.string(), value: count.nullable() }));

const header = z.object({ kind: z.literal('header'), format: z.literal(FORMAT) });

const registry = z.object({
  kind: z.literal('registry'),
  accountId: z.string(),
  region: z.string(),
  createdAt: time,
  /** Those of the whole registry. */
  quotas,
});

const repository = z.object({
  kind: z.literal('repository'),
  id,
  accountId: z.string(),
  region: z.string(),
  name: z.string(),
  createdAt: time,
  tagMutability: z.string(),
  exclusionFilters: z.array(z.string()),
  scanOnPush: z.boolean(),
  /** Resource tags. */
  tags: z.record(z.string(), z.string()),
  quotas,
});

const layer = z.object({
  sha256,
  sha512: sha512.nullable(),
  sizeBytes: count,
  objectKey: z.string(),
  mediaType: z.string(),
});

const image = z.object({
  kind: z.literal('image'),
  repository: id,
  digest: z.string(),
  /** Place in the order of pushes over all repositories. */
  order: id,
  manifest: z.base64(),
  mediaType: z.string(),
  artifactType: z.string().nullable(),
  subjectDigest: z.string().nullable(),
  annotations: z.record(z.string(), z.string()).nullable(),
  sizeBytes: count,
  pushedAt: time,
  lastPulledAt: time.nullable(),
  /** Of two images that claim a tag, the one with the higher place in the order of taggings has it. */
  tags: z.array(z.object({ tag: z.string(), order: id })),
  layers: z.array(layer),
  /** Digests of the images an index names. */
  children: z.array(z.string()),
});

const deletedRepository = z.object({ kind: z.literal('deleted-repository'), id });
const deletedImage = z.object({ kind: z.literal('deleted-image'), repository: id, digest: z.string() });

const line = z.discriminatedUnion('kind', [registry, repository, image, deletedRepository, deletedImage]);

export type RegistryRecord = z.infer<typeof registry>;
export type RepositoryRecord = z.infer<typeof repository>;
export type ImageRecord = z.infer<typeof image>;
/** One line: what there is to know of one thing at one moment. */
export type StoredRecord = z.infer<typeof line>;

export async function encodeRecords(records: StoredRecord[]): Promise<Buffer> {
  const lines = [{ kind: 'header', format: FORMAT }, ...records].map((record) => JSON.stringify(record));
  return promisify(gzip)(`${lines.join('\n')}\n`);
}

/** @throws RecoveryError when the object is damaged, or of a newer release */
export async function decodeRecords(name: string, bytes: Buffer): Promise<StoredRecord[]> {
  try {
    const text = (await promisify(gunzip)(bytes)).toString();
    const [first, ...lines] = text
      .trimEnd()
      .split('\n')
      .map((json) => JSON.parse(json) as unknown);
    header.parse(first);
    return lines.map((record) => line.parse(record));
  } catch (cause) {
    throw new RecoveryError(
      `The object ${name} of the blob store is damaged, or was written by a newer release. ` +
        'Move it away to go on without it: what it tells of is then missing or older.',
      { cause },
    );
  }
}
