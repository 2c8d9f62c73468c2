import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { BLOB_STORE, type BlobStore } from '../../../blob-store/blob-store.js';
import { type NamedObject, RECORDS } from '../../../blob-store/named-objects.js';
import { withAttempts } from '../attempts.js';
import { RecoveryError } from '../recovery-error.js';
import { decodeRecords, type StoredRecord } from './record.js';
import { contentsOf } from './record-names.js';

const fullSetEnd = z.object({ parts: z.int().min(0) });

/** Reads the copy of the records back. */
@Injectable()
export class RecordReader {
  constructor(@Inject(BLOB_STORE) private readonly store: BlobStore) {}

  /**
   * The newest full set and every batch after it: what comes later replaces what came before.
   * @throws RecoveryError when there are no records, or one of the objects is damaged
   */
  async *read(): AsyncGenerator<StoredRecord[]> {
    const objects: NamedObject[] = [];
    for await (const object of this.store.named.list(RECORDS)) objects.push(object);
    const { fullSet, batches } = contentsOf(objects);
    if (!fullSet && batches.length === 0)
      throw new RecoveryError(`The blob store holds no copy of the records (nothing under ${RECORDS}).`);
    if (fullSet) await this.assertWhole(fullSet.end, fullSet.parts);
    for (const name of [...(fullSet?.parts ?? []), ...batches])
      yield decodeRecords(name, await this.bytesOf(name));
  }

  private async assertWhole(end: string, parts: string[]): Promise<void> {
    const expected = fullSetEnd.parse(JSON.parse((await this.bytesOf(end)).toString())).parts;
    if (parts.length !== expected)
      throw new RecoveryError(`The full set of ${end} has ${parts.length} parts instead of ${expected}.`);
  }

  private async bytesOf(name: string): Promise<Buffer> {
    const bytes = await withAttempts(() => this.store.named.read(name));
    if (!bytes) throw new RecoveryError(`The object ${name} vanished from the blob store while it was read.`);
    return bytes;
  }
}
