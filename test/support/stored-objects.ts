import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StagedBlob } from '../../src/blob-store/blob-store.js';
import type { TestEnvironment } from './test-environment.js';

/** A hand in the store, behind the back of the registry. */
export interface StoredObjects {
  read(key: string): Promise<Buffer>;
  /** Puts other bytes in the place of the object's; of an object of several files, in the place of its first one's. */
  change(key: string, change: (bytes: Buffer) => Buffer): Promise<void>;
  remove(key: string): Promise<void>;
  /** Throws away the bytes of an upload that is not finished. */
  removeUnfinished(staged: StagedBlob): Promise<void>;
  /** Gives the store another name, as if it were somebody else's. @returns its name so far */
  rename(name: string): Promise<string>;
}

export function storedObjects({ dataDir, settings }: TestEnvironment): StoredObjects {
  return settings['STOWAGE_S3_BUCKET'] === undefined ? files(join(dataDir, 'layers')) : bucket(settings);
}

export const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
};

function files(root: string): StoredObjects {
  const pathOf = (key: string): string => join(root, 'blobs', key.slice(0, 2), key);
  const filesOf = async (key: string): Promise<string[]> => {
    const path = pathOf(key);
    if ((await stat(path)).isFile()) return [path];
    return (await readdir(path)).filter((name) => name !== 'layout.json').map((name) => join(path, name));
  };
  return {
    read: async (key) => Buffer.concat(await Promise.all((await filesOf(key)).map((path) => readFile(path)))),
    async change(key, change) {
      const [path] = await filesOf(key);
      await writeFile(path!, change(await readFile(path!)));
    },
    remove: (key) => rm(pathOf(key), { recursive: true }),
    removeUnfinished: (staged) => rm(join(root, 'staged', String(staged['key'])), { recursive: true }),
    async rename(name) {
      const before = await readFile(join(root, 'identity'), 'utf8');
      await writeFile(join(root, 'identity'), name);
      return before;
    },
  };
}

function bucket(settings: Record<string, string>): StoredObjects {
  const Bucket = settings['STOWAGE_S3_BUCKET']!;
  const client = (): S3Client =>
    new S3Client({
      endpoint: process.env['STOWAGE_TEST_S3_ENDPOINT']!,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: {
        accessKeyId: settings['STOWAGE_S3_ACCESS_KEY_ID']!,
        secretAccessKey: settings['STOWAGE_S3_SECRET_ACCESS_KEY']!,
      },
    });
  const withClient = async <Result>(work: (s3: S3Client) => Promise<Result>): Promise<Result> => {
    const s3 = client();
    try {
      return await work(s3);
    } finally {
      s3.destroy();
    }
  };
  const get = async (s3: S3Client, Key: string): Promise<Buffer> =>
    Buffer.from(await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToByteArray());
  return {
    read: (key) => withClient((s3) => get(s3, key)),
    change: (Key, change) =>
      withClient(async (s3) => {
        const Body = change(await get(s3, Key));
        await s3.send(new PutObjectCommand({ Bucket, Key, Body }));
      }),
    remove: (Key) => withClient(async (s3) => void (await s3.send(new DeleteObjectCommand({ Bucket, Key })))),
    removeUnfinished: ({ key, uploadId }) =>
      withClient(async (s3) => {
        const upload = { Bucket, Key: String(key), UploadId: String(uploadId) };
        await s3.send(new AbortMultipartUploadCommand(upload));
      }),
    rename: (name) =>
      withClient(async (s3) => {
        const before = await get(s3, 'identity');
        await s3.send(new PutObjectCommand({ Bucket, Key: 'identity', Body: name }));
        return before.toString();
      }),
  };
}
