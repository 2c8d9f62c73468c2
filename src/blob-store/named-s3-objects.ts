import { GetObjectCommand, paginateListObjectsV2, type S3Client } from '@aws-sdk/client-s3';
import type { NamedObject, NamedObjects } from './named-objects.js';
import { isMissing, putObject, removeObjects } from './s3-requests.js';

/** Named objects in the bucket of the layers, beside their prefix. */
export class NamedS3Objects implements NamedObjects {
  constructor(
    private readonly client: S3Client,
    private readonly bucket: string,
  ) {}

  async write(name: string, bytes: Buffer): Promise<void> {
    await putObject(this.client, { Bucket: this.bucket, Key: name }, [bytes], new AbortController().signal);
  }

  async read(name: string): Promise<Buffer | null> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: name }));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async *list(prefix: string): AsyncIterable<NamedObject> {
    for await (const page of paginateListObjectsV2(
      { client: this.client },
      { Bucket: this.bucket, Prefix: prefix },
    ))
      for (const { Key, Size } of page.Contents ?? []) yield { name: Key!, sizeBytes: Size ?? 0 };
  }

  async remove(names: string[]): Promise<void> {
    await removeObjects(this.client, this.bucket, names);
  }
}
