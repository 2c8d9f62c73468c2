import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Digest } from '../../domain/digest.js';
import { type ImageManifest, parseManifest } from '../images/image-manifest.js';
import type { Fault, Finding, Inspection } from './finding.js';
import { type RecordedImage, RecordsRepository } from './records.repository.js';

/** Manifests against their digests, and what they name against the references that were recorded at their push. */
@Injectable()
export class ImageCheck {
  constructor(private readonly records: RecordsRepository) {}

  async *faults({ signal, tally }: Inspection): AsyncGenerator<Fault> {
    for (const source of ['images', 'deletedImages'] as const) {
      for (let after = 0n; ;) {
        signal.throwIfAborted();
        const page = await this.records[source](after);
        if (page.length === 0) break;
        after = page.at(-1)!.id;
        tally[source] += page.length;
        for (const image of page) yield* this.inspect(image);
      }
    }
    for (const { what, repositoryArn } of await this.records.dangling())
      yield {
        finding: {
          kind: 'dangling-reference',
          what,
          ...(repositoryArn !== null && { repositories: [repositoryArn] }),
          repair: null,
        },
      };
  }

  private async *inspect(image: RecordedImage): AsyncGenerator<Fault> {
    if (!hasDigest(image)) {
      const what =
        'The manifest has other bytes than its digest says; push the image again after deleting it';
      yield { finding: finding(image, 'manifest-digest', what) };
      return;
    }
    const manifest = readable(image);
    if (!manifest) {
      yield { finding: finding(image, 'manifest-unreadable', 'The manifest cannot be read') };
      return;
    }
    yield* this.layerReferences(image, manifest);
    yield* this.childReferences(image, manifest);
  }

  private async *layerReferences(image: RecordedImage, { layers }: ImageManifest): AsyncGenerator<Fault> {
    const named = new Map(layers.map(({ digest, mediaType }) => [digest, mediaType]));
    const held = new Set(
      image.layers.flatMap(({ sha256, sha512 }) => [`sha256:${sha256}`, `sha512:${sha512}`]),
    );
    for (const [digest, mediaType] of named) {
      if (held.has(digest)) continue;
      const parsed = Digest.require(digest);
      const what = `The image does not hold the layer ${digest}, which its manifest names`;
      if (await this.records.hasLayer(image, parsed))
        yield {
          finding: finding(image, 'missing-reference', what, 'records that the image needs it'),
          mend: () => this.records.addLayer(image, parsed, mediaType),
        };
      else
        yield {
          finding: finding(image, 'missing-reference', `${what}, and it is not there; push it again`),
        };
    }
    for (const { sha256, sha512 } of image.layers)
      if (!named.has(`sha256:${sha256}`) && !named.has(`sha512:${sha512}`)) {
        const what = `The image holds the layer sha256:${sha256}, which its manifest does not name`;
        yield { finding: finding(image, 'surplus-reference', what) };
      }
  }

  private async *childReferences(image: RecordedImage, { children }: ImageManifest): AsyncGenerator<Fault> {
    const named = new Set(children.map(({ digest }) => digest));
    const held = new Set(image.children);
    for (const digest of named) {
      if (held.has(digest)) continue;
      const what = `The index does not hold the image ${digest}, which it names`;
      if (await this.records.hasImage(image, digest))
        yield {
          finding: finding(image, 'missing-reference', what, 'records that the index needs it'),
          mend: () => this.records.addChild(image, digest),
        };
      else
        yield {
          finding: finding(image, 'missing-reference', `${what}, and it is not there; push it again`),
        };
    }
    for (const digest of held)
      if (!named.has(digest)) {
        const what = `The index holds the image ${digest}, which it does not name`;
        yield { finding: finding(image, 'surplus-reference', what) };
      }
  }
}

function finding(
  image: RecordedImage,
  kind: Finding['kind'],
  what: string,
  repair: string | null = null,
): Finding {
  return {
    kind,
    what: image.repositoryId === null ? `${what} (deleted, and can be brought back)` : what,
    digest: image.digest,
    repositories: [image.repositoryArn],
    repair,
  };
}

function hasDigest({ digest, manifest }: RecordedImage): boolean {
  const parsed = Digest.parse(digest);
  return parsed !== null && createHash(parsed.algorithm).update(manifest).digest('hex') === parsed.hex;
}

function readable({ manifest, mediaType }: RecordedImage): ImageManifest | null {
  try {
    return parseManifest(manifest, mediaType);
  } catch {
    return null;
  }
}
