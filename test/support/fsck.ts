import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import { CONFIG, type Config } from '../../src/config/config.js';
import { ByteCheck } from '../../src/registry/integrity/byte-check.js';
import { CounterCheck } from '../../src/registry/integrity/counter-check.js';
import type { Finding } from '../../src/registry/integrity/finding.js';
import {
  type FsckOptions,
  FsckService,
  type FsckSummary,
} from '../../src/registry/integrity/fsck.service.js';
import { ImageCheck } from '../../src/registry/integrity/image-check.js';
import { IntegrityRepository } from '../../src/registry/integrity/integrity.repository.js';
import { ObjectCheck } from '../../src/registry/integrity/object-check.js';
import { ObjectVerifier } from '../../src/registry/integrity/object-verifier.js';
import { UploadCheck } from '../../src/registry/integrity/upload-check.js';
import type { TestRegistry } from './registry.js';

export interface Checked {
  findings: Finding[];
  /** Kinds of those that are new. */
  kinds: string[];
  summary: FsckSummary;
}

/** One run of fsck inside the service's own process. By default it hashes everything and repairs nothing. */
export async function fsck(
  registry: TestRegistry,
  options: Partial<FsckOptions> & { impatient?: boolean; signal?: AbortSignal } = {},
): Promise<Checked> {
  const { impatient = false, signal = new AbortController().signal, ...rest } = options;
  const service = impatient ? withoutGrace(registry) : registry.app.get(FsckService, { strict: false });
  const findings: Finding[] = [];
  const summary = await service.run(
    { hashing: 'all', bytesPerSecond: null, repair: false, ...rest },
    (finding) => findings.push(finding),
    signal,
  );
  const kinds = findings.filter(({ known }) => !known).map(({ kind }) => kind);
  return { findings, kinds: kinds.sort(), summary };
}

/** For it, everything in the store is old. */
function withoutGrace({ app }: TestRegistry): FsckService {
  const config = app.get<Config>(CONFIG, { strict: false });
  const blobs = app.get(IntegrityRepository, { strict: false });
  const verifier = app.get(ObjectVerifier, { strict: false });
  const objects = new ObjectCheck(app.get<BlobStore>(BLOB_STORE, { strict: false }), blobs, verifier, {
    ...config,
    STOWAGE_ORPHAN_GRACE_HOURS: -1,
    STOWAGE_UPLOAD_EXPIRY_HOURS: -1,
  });
  return new FsckService(
    blobs,
    verifier,
    objects,
    app.get(UploadCheck, { strict: false }),
    app.get(ImageCheck, { strict: false }),
    app.get(CounterCheck, { strict: false }),
    app.get(ByteCheck, { strict: false }),
  );
}
