/**
 * Layers in an S3-compatible bucket.
 *
 *   identity         the name of this store
 *   records/<name>   other named objects
 *   blobs/<uuid>     one object per layer, written once under its own key and never copied
 *
 * A key belongs to one multipart upload (or one PutObject) for ever, so no late writer can replace a committed object.
 * (Over 300 lines, for the driver is one state machine.) Only requests every S3 has are used: PutObject, GetObject, DeleteObjects, the multipart family, the two listings, HeadBucket.
 */
import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  paginateListObjectsV2,
  ListMultipartUploadsCommand,
  type S3Client,
  waitUntilBucketExists,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { S3Settings } from '../config/config.js';
import { atMost } from '../config/patience.js';
import { type ByteRange, rangeLength } from '../domain/byte-range.js';
import { faultPoint } from '../observability/fault-points.js';
import type {
  AppendContext,
  Appended,
  AppendSource,
  BlobStore,
  Committed,
  StagedBlob,
  StoredObject,
  UnfinishedObject,
} from './blob-store.js';
import { BlobMissing } from './blob-store.js';
import type { ByteBudget } from './byte-budget.js';
import { NamedS3Objects } from './named-s3-objects.js';
import { PartSplitter, type StorePart } from './part-splitter.js';
import {
  bytesOfParts,
  completeMultipart,
  isCode,
  isMissing,
  putObject,
  removeObjects,
  s3Clients,
  storedParts,
  uploadPart,
} from './s3-requests.js';

interface StagedMultipart extends StagedBlob {
  key: string;
  uploadId: string;
  parts: StorePart[];
}

const PREFIX = 'blobs/';
const IDENTITY = 'identity';
const DISCARD_PATIENCE_MS = 2_000;
/** How long a bucket may take to be there once it is created. */
const BUCKET_PATIENCE_SECONDS = 30;

export class S3BlobStore implements BlobStore {
  readonly named: NamedS3Objects;
  private readonly client: S3Client;
  private readonly reader: S3Client;
  private readonly presigner: S3Client;
  private readonly bucket: string;

  /** @param silenceSeconds after which the store is taken not to answer */
  constructor(
    settings: S3Settings,
    private readonly budget: ByteBudget,
    silenceSeconds = 20,
  ) {
    this.bucket = settings.bucket;
    const { requests, reads, presigner } = s3Clients(settings, silenceSeconds);
    this.client = requests;
    this.named = new NamedS3Objects(requests, this.bucket);
    this.reader = reads;
    this.presigner = presigner;
  }

  /** Creates the bucket unless it is there, or another replica creates it at this moment. */
  async prepare(): Promise<void> {
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }));
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.client.send(new CreateBucketCommand({ Bucket: this.bucket })).catch((raced: unknown) => {
        if (!isCode(raced, 'BucketAlreadyOwnedByYou', 'BucketAlreadyExists', 'OperationAborted')) throw raced;
      });
      // Of a creation that was only begun, or a bucket of somebody else's, this tells.
      await waitUntilBucketExists(
        { client: this.client, maxWaitTime: BUCKET_PATIENCE_SECONDS },
        { Bucket: this.bucket },
      );
    }
  }

  async append(staged: StagedBlob | null, source: AppendSource, context: AppendContext): Promise<Appended> {
    return this.appendTo(newKey(), staged, source, context);
  }

  /** @param key of the object that is begun when nothing is staged; what is staged has its own */
  private async appendTo(
    key: string,
    staged: StagedBlob | null,
    source: AppendSource,
    context: AppendContext,
  ): Promise<Appended> {
    const before = staged as StagedMultipart | null;
    let target = before;
    const begin = async (): Promise<StagedMultipart> => (target ??= await this.beginMultipart(key));
    const splitter = new PartSplitter(this.budget, context, async (part, partNumber, crc32) => {
      const traits = { crc32, isLastUse: source.isLastUse ?? false };
      const { key: Key, uploadId: UploadId } = await begin();
      const stored = await uploadPart(
        this.client,
        { Bucket: this.bucket, Key, UploadId, PartNumber: partNumber },
        part,
        context.signal,
        traits,
      );
      faultPoint('multipart-part-stored');
      return stored;
    });
    try {
      if (!before) splitter.beforeFirstPart = async () => void (await begin());
      const { parts, rest, restBytes } = await splitter.split(source);
      if (parts.length === 0) return { staged, rest, restBytes };
      return { staged: { ...(await begin()), parts: [...(before?.parts ?? []), ...parts] }, rest, restBytes };
    } catch (error) {
      if (!before && target) await this.discardSoon(target);
      throw isCode(error, 'NoSuchUpload') ? new BlobMissing(target?.key ?? '') : error;
    }
  }

  async commit(staged: StagedBlob | null, rest: Buffer[], context: AppendContext): Promise<Committed> {
    return this.commitTo(newKey(), staged, rest, context);
  }

  /** @param wholeKey of an object with nothing staged; what is staged has its own */
  private async commitTo(
    wholeKey: string,
    staged: StagedBlob | null,
    rest: Buffer[],
    context: AppendContext,
  ): Promise<Committed> {
    if (!staged) {
      await putObject(this.client, { Bucket: this.bucket, Key: wholeKey }, rest, context.signal);
      return { key: wholeKey, certain: true };
    }
    const { key, uploadId, parts } = staged as StagedMultipart;
    const upload = { Bucket: this.bucket, Key: key, UploadId: uploadId };
    const all = [...parts];
    try {
      if (rest.length > 0) {
        const target = { ...upload, PartNumber: await context.takePartNumbers(1) };
        all.push(await uploadPart(this.client, target, rest, context.signal, { isLastUse: false }));
        faultPoint('multipart-rest-stored');
      }
      await completeMultipart(this.client, upload, all);
      return { key, certain: true };
    } catch (error) {
      if (isCode(error, 'InvalidPart')) {
        const known = await storedParts(this.client, upload, all);
        if (!known) throw new BlobMissing(key);
        await completeMultipart(this.client, upload, known);
        return { key, certain: false };
      }
      if (!isCode(error, 'NoSuchUpload')) throw error;
      const expected = [...parts.map(({ size }) => size), ...rest.map(({ length }) => length)].reduce(
        (sum, size) => sum + size,
        0,
      );
      if ((await this.find(key))?.sizeBytes !== expected) throw new BlobMissing(key);
      return { key, certain: false };
    }
  }

  async madeOf(staged: StagedBlob): Promise<{ key: string; sizeBytes: number } | null> {
    const { key } = staged as StagedMultipart;
    const sizeBytes = await this.find(key).then((found) => found?.sizeBytes);
    return sizeBytes === undefined ? null : { key, sizeBytes };
  }

  async discard(staged: StagedBlob): Promise<void> {
    const { key, uploadId } = staged as StagedMultipart;
    await this.client
      .send(new AbortMultipartUploadCommand({ Bucket: this.bucket, Key: key, UploadId: uploadId }))
      .catch((error: unknown) => {
        if (!isCode(error, 'NoSuchUpload')) throw error;
      });
  }

  async read(key: string, range?: ByteRange, sizeBytes?: number): Promise<Readable> {
    try {
      const Range = range ? `bytes=${range.first}-${range.last}` : undefined;
      const { Body, ContentLength } = await this.reader.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key, Range }),
      );
      const body = Body as Readable;
      // From here on the HTTP parser itself sees to it that no other number of bytes passes for a whole answer.
      if (ContentLength === (range ? rangeLength(range) : (sizeBytes ?? ContentLength))) return body;
      body.destroy();
      throw new Error(`The store announced ${ContentLength} bytes for ${key}, which has another size`);
    } catch (error) {
      throw isMissing(error) ? new BlobMissing(key) : error;
    }
  }

  async find(key: string): Promise<StoredObject | null> {
    try {
      const found = await this.client.send(new HeadObjectCommand({ Bucket: this.bucket, Key: key }));
      return { key, sizeBytes: found.ContentLength ?? 0, modifiedAt: found.LastModified ?? new Date() };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async put(key: string, bytes: AsyncIterable<Buffer>): Promise<void> {
    let next = 1;
    const context = {
      takePartNumbers: async (count: number) => (next += count) - count,
      signal: new AbortController().signal,
    };
    const { staged, rest } = await this.appendTo(key, null, { bytes, inMemory: false }, context);
    await this.commitTo(key, staged, rest, context);
  }

  async remove(keys: string[]): Promise<void> {
    await removeObjects(this.client, this.bucket, keys);
  }

  async identity(): Promise<string | null> {
    return (await this.named.read(IDENTITY))?.toString() ?? null;
  }

  async identify(name: string): Promise<void> {
    await this.named.write(IDENTITY, Buffer.from(name));
  }

  async check(): Promise<void> {
    await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }));
  }

  async *objects(): AsyncIterable<StoredObject> {
    for await (const page of paginateListObjectsV2(
      { client: this.client },
      { Bucket: this.bucket, Prefix: PREFIX },
    )) {
      for (const object of page.Contents ?? []) {
        yield {
          key: object.Key!,
          sizeBytes: object.Size ?? 0,
          modifiedAt: object.LastModified ?? new Date(),
        };
      }
    }
  }

  async *unfinished(): AsyncIterable<UnfinishedObject> {
    let marker: { KeyMarker?: string; UploadIdMarker?: string } | null = {};
    while (marker) {
      const page: {
        Uploads?: { Key?: string; UploadId?: string; Initiated?: Date }[];
        IsTruncated?: boolean;
        NextKeyMarker?: string;
        NextUploadIdMarker?: string;
      } = await this.client.send(
        // Without a prefix, since MinIO takes one for a whole key and answers nothing else.
        new ListMultipartUploadsCommand({ Bucket: this.bucket, ...marker }),
      );
      for (const upload of page.Uploads ?? []) {
        if (!upload.Key?.startsWith(PREFIX)) continue;
        yield {
          staged: { key: upload.Key, uploadId: upload.UploadId!, parts: [] },
          startedAt: upload.Initiated ?? new Date(),
        };
      }
      marker = page.IsTruncated
        ? { KeyMarker: page.NextKeyMarker!, UploadIdMarker: page.NextUploadIdMarker! }
        : null;
    }
  }

  async stagedBytes(staged: StagedBlob): Promise<number | null> {
    const { key, uploadId, parts } = staged as StagedMultipart;
    try {
      return await bytesOfParts(this.client, { Bucket: this.bucket, Key: key, UploadId: uploadId }, parts);
    } catch (error) {
      if (!isCode(error, 'NoSuchUpload')) throw error;
    }
    // A completion whose record was lost made the object of them; the next one finds it.
    const wanted = parts.reduce((sum, { size }) => sum + size, 0);
    const object = parts.length > 0 ? await this.find(key) : null;
    return object && object.sizeBytes >= wanted ? wanted : null;
  }

  sameUnfinished(one: StagedBlob, other: StagedBlob): boolean {
    return (one as StagedMultipart).uploadId === (other as StagedMultipart).uploadId;
  }

  async downloadUrl(key: string, expiresInSeconds: number): Promise<string> {
    return getSignedUrl(this.presigner, new GetObjectCommand({ Bucket: this.bucket, Key: key }), {
      expiresIn: expiresInSeconds,
    });
  }

  private async beginMultipart(key: string): Promise<StagedMultipart> {
    const { UploadId } = await this.client.send(
      new CreateMultipartUploadCommand({
        Bucket: this.bucket,
        Key: key,
        ContentType: 'application/octet-stream',
        ChecksumAlgorithm: 'CRC32',
      }),
    );
    faultPoint('multipart-created');
    return { key, uploadId: UploadId!, parts: [] };
  }

  /** For a request that failed anyway: what the store does not drop at once, the collector finds. */
  private async discardSoon(staged: StagedBlob): Promise<void> {
    await atMost(DISCARD_PATIENCE_MS, this.discard(staged));
  }
}

function newKey(): string {
  return PREFIX + randomUUID();
}
