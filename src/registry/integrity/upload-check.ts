import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable } from '@nestjs/common';
import { BLOB_STORE, type BlobStore } from '../../blob-store/blob-store.js';
import { isCommitted } from '../layers/uploads/upload.js';
import type { Fault, Finding, Inspection } from './finding.js';
import { ObjectVerifier } from './object-verifier.js';
import { type OpenUpload, OpenUploadsRepository } from './open-uploads.repository.js';

const PAGE = 200;
/** Before the first of all ids. */
const NIL_ID = '00000000-0000-0000-0000-000000000000';

type Discrepancy = Pick<Finding, 'kind' | 'what' | 'recordedBytes' | 'foundBytes'>;

/** Open uploads: the acknowledged bytes must be in the store and in the tail rows, every one of them. */
@Injectable()
export class UploadCheck {
  constructor(
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    private readonly uploads: OpenUploadsRepository,
    private readonly verifier: ObjectVerifier,
  ) {}

  async *faults({ signal, tally }: Inspection): AsyncGenerator<Fault> {
    for (let after = NIL_ID; ;) {
      const page = await this.uploads.page(after, PAGE);
      if (page.length === 0) return;
      after = page.at(-1)!.id;
      tally.openUploads += page.length;
      for (const upload of page) {
        signal.throwIfAborted();
        yield* this.inspect(upload);
      }
    }
  }

  /** An upload that went on between two looks is looked at once more, as it is now. */
  private async *inspect(first: OpenUpload): AsyncGenerator<Fault> {
    for (let upload = first; ;) {
      const discrepancy = this.tailDiscrepancy(upload) ?? (await this.storeDiscrepancy(upload));
      if (!discrepancy) return;
      const now = await this.uploads.find(upload.id);
      if (!now) return;
      if (isDeepStrictEqual(now, upload)) {
        yield {
          finding: {
            ...discrepancy,
            upload: upload.id,
            repositories: [upload.repositoryArn],
            repair: 'ends the upload, which could never be completed; its client begins anew',
          },
          mend: () => this.uploads.end(upload),
        };
        return;
      }
      upload = now;
    }
  }

  private tailDiscrepancy({ offsetBytes, tailBytes, tails }: OpenUpload): Discrepancy | null {
    const fits =
      tails.bytes === tailBytes &&
      (tailBytes === 0 || (tails.endByte === offsetBytes && tails.firstByte === offsetBytes - tailBytes));
    if (fits) return null;
    return {
      kind: 'upload-tails',
      what: 'The last bytes of the upload, which rest in the database, are not as recorded',
      recordedBytes: tailBytes,
      foundBytes: tails.bytes,
    };
  }

  private async storeDiscrepancy({
    offsetBytes,
    tailBytes,
    staged,
  }: OpenUpload): Promise<Discrepancy | null> {
    const recordedBytes = isCommitted(staged) ? staged.sizeBytes : offsetBytes - tailBytes;
    const foundBytes = await this.bytesInStore(staged);
    if (foundBytes === recordedBytes) return null;
    await this.verifier.requireStore();
    return {
      kind: 'upload-bytes',
      what: 'Bytes of the upload that were acknowledged are not in the store',
      recordedBytes,
      foundBytes,
    };
  }

  private async bytesInStore(staged: OpenUpload['staged']): Promise<number> {
    if (!staged) return 0;
    if (isCommitted(staged)) return (await this.store.find(staged.committed))?.sizeBytes ?? 0;
    return (await this.store.stagedBytes(staged)) ?? 0;
  }
}
