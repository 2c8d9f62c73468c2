import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  paginateListObjectsV2,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { MEBIBYTE } from '../support/pushes.js';
import type { TestEnvironment } from '../support/test-environment.js';

/** The store as it is, seen past the registry. */
export interface StoredBytes {
  /** Sizes by key. A size of -1: not whole. */
  objects(): Promise<Map<string, number>>;
  /** What was begun and is no object. */
  unfinished(): Promise<string[]>;
  /** Bytes no row speaks of, as a crash leaves them. */
  plantOrphans(): Promise<void>;
  /** As before the first start. */
  forgetIdentity(): Promise<void>;
  close(): void;
}

export function storedBytes({ settings, dataDir }: TestEnvironment): StoredBytes {
  return settings['STOWAGE_S3_BUCKET'] ? inBucket(settings) : inFolder(join(dataDir, 'layers'));
}

function inFolder(root: string): StoredBytes {
  const names = (folder: string): Promise<string[]> => readdir(join(root, folder)).catch(() => []);
  const sizeOf = async (path: string): Promise<number> => {
    const found = await stat(path);
    if (found.isFile()) return found.size;
    const layout = await readFile(join(path, 'layout.json'), 'utf8').catch(() => undefined);
    if (!layout) return -1;
    let total = 0;
    for (const { name, size } of JSON.parse(layout) as { name: string; size: number }[]) {
      if ((await stat(join(path, name)).catch(() => undefined))?.size !== size) return -1;
      total += size;
    }
    return total;
  };
  return {
    async objects() {
      const found = new Map<string, number>();
      for (const shard of await names('blobs'))
        for (const key of await names(join('blobs', shard)))
          found.set(key, await sizeOf(join(root, 'blobs', shard, key)));
      return found;
    },
    unfinished: () => names('staged'),
    async plantOrphans() {
      const [object, inParts, begun] = [randomUUID(), randomUUID(), randomUUID()];
      await mkdir(join(root, 'blobs', object.slice(0, 2)), { recursive: true });
      await writeFile(join(root, 'blobs', object.slice(0, 2), object), 'an orphan');
      await mkdir(join(root, 'blobs', inParts.slice(0, 2), inParts), { recursive: true });
      await writeFile(join(root, 'blobs', inParts.slice(0, 2), inParts, randomUUID()), 'half an orphan');
      await mkdir(join(root, 'staged', begun), { recursive: true });
      await writeFile(join(root, 'staged', begun, randomUUID()), 'the beginning of an orphan');
    },
    forgetIdentity: () => rm(join(root, 'identity')),
    close: () => undefined,
  };
}

function inBucket(settings: Record<string, string>): StoredBytes {
  const Bucket = settings['STOWAGE_S3_BUCKET']!;
  const client = new S3Client({
    endpoint: settings['STOWAGE_S3_ENDPOINT']!,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: {
      accessKeyId: settings['STOWAGE_S3_ACCESS_KEY_ID']!,
      secretAccessKey: settings['STOWAGE_S3_SECRET_ACCESS_KEY']!,
    },
  });
  return {
    async objects() {
      const found = new Map<string, number>();
      for await (const page of paginateListObjectsV2({ client }, { Bucket, Prefix: 'blobs/' }))
        for (const { Key, Size } of page.Contents ?? []) found.set(Key!, Size!);
      return found;
    },
    async unfinished() {
      const { Uploads, IsTruncated } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
      if (IsTruncated) throw new Error('There are more unfinished uploads than one page tells of');
      return (Uploads ?? []).map(({ Key, UploadId }) => `${Key} ${UploadId}`);
    },
    async plantOrphans() {
      await client.send(new PutObjectCommand({ Bucket, Key: `blobs/${randomUUID()}`, Body: 'an orphan' }));
      const Key = `blobs/${randomUUID()}`;
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
      const Body = Buffer.alloc(5 * MEBIBYTE);
      await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body }));
    },
    async forgetIdentity() {
      await client.send(new DeleteObjectCommand({ Bucket, Key: 'identity' }));
    },
    close: () => client.destroy(),
  };
}
