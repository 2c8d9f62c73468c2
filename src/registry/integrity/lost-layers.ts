import type { Fault } from './finding.js';
import type { IntegrityRepository, RecordedBlob } from './integrity.repository.js';

/** What became of a layer's bytes. */
export type Loss = 'missing' | { sizeBytes: number } | { sizeBytes: number; sha256: string };

/** A layer whose bytes are not what its row says. */
export function lost(
  blobs: IntegrityRepository,
  blob: RecordedBlob,
  repositories: string[],
  loss: Loss,
): Fault {
  return {
    finding: {
      ...saying(blob, loss),
      ...layerOf(blob, repositories),
      ...(loss !== 'missing' && { foundBytes: loss.sizeBytes }),
      repair: 'marks the layer damaged: it is served to nobody, and its next push replaces the object',
    },
    mend: () => blobs.markDamaged(blob),
  };
}

/** The members of a finding that name a layer. */
export function layerOf(blob: RecordedBlob, repositories: string[]) {
  return {
    digest: `sha256:${blob.sha256}`,
    key: blob.objectKey,
    recordedBytes: blob.sizeBytes,
    repositories,
  };
}

function saying(
  blob: RecordedBlob,
  loss: Loss,
): { kind: 'missing-object' | 'wrong-size' | 'wrong-bytes'; what: string } {
  if (loss === 'missing')
    return { kind: 'missing-object', what: 'The object of the layer is not in the store' };
  if (loss.sizeBytes !== blob.sizeBytes)
    return { kind: 'wrong-size', what: 'The object of the layer has another size than recorded' };
  return {
    kind: 'wrong-bytes',
    what: `The object of the layer has other bytes than recorded${'sha256' in loss ? `: sha256:${loss.sha256}` : ''}`,
  };
}
