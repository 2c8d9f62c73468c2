import { BatchDeleteImageCommand, DeleteRepositoryCommand, PutImageCommand } from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import {
  type Blob,
  imageConfig,
  imageIndex,
  imageManifest,
  layer,
  type Manifest,
  manifestOf,
  MEDIA_TYPES,
} from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  pushLayer,
  putImage,
} from '../support/pushes.js';
import type { TestRegistry } from '../support/registry.js';

export const OTHER_REGION = 'eu-central-1';

export function sha512Of(bytes: Buffer | string): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

/**
 * Fills a registry with one of everything that can be recorded, and with what was and is no more.
 * @returns a layer that no image names, in `team/rich`
 */
export async function fillRegistry(registry: TestRegistry): Promise<Blob> {
  const { ecr } = registry;
  const rich = await createRepository(ecr, {
    repositoryName: 'team/rich',
    imageTagMutability: 'MUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: [
      { filterType: 'WILDCARD', filter: 'release-*' },
      { filterType: 'WILDCARD', filter: 'v1.*' },
    ],
    imageScanningConfiguration: { scanOnPush: true },
    tags: [
      { Key: 'team', Value: 'blue' },
      { Key: 'ümlaut: a/b=c+d@é_.-', Value: '' },
    ],
  });
  await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
    SELECT registry_id, id, 'imagesPerRepository', 50 FROM repository WHERE name = ${rich}`;
  await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
    SELECT registry_id, NULL, 'tagsPerImage', NULL FROM repository WHERE name = ${rich}`;
  await createRepository(ecr, { repositoryName: 'team/empty', imageTagMutability: 'IMMUTABLE' });

  // Moved and removed tags, an image that went, one that stayed behind without tags.
  const first = await pushImage(ecr, rich, 'first', ['latest', 'old', 'release-1']);
  const second = await pushImage(ecr, rich, 'second', ['latest', 'newer']);
  await pushImage(ecr, rich, 'gone', ['gone']);
  await ecr.send(new BatchDeleteImageCommand({ repositoryName: rich, imageIds: [{ imageTag: 'gone' }] }));
  await pushImage(ecr, rich, 'untagged', ['a', 'b']);
  for (const tag of ['a', 'b']) await registry.fetchOci(`/v2/${rich}/manifests/${tag}`, { method: 'DELETE' });
  await putImage(ecr, rich, first.manifest, 'again');

  // Both flavours, indexes of them, an index of nothing, referrers with annotations, one whose subject nobody pushed.
  const docker = await pushImage(ecr, rich, 'docker', [], { flavour: 'docker' });
  await putImage(ecr, rich, imageIndex([docker.manifest], { flavour: 'docker' }), 'docker-list');
  const index = imageIndex([first.manifest, second.manifest], {
    annotations: { 'org.example': 'ä "b"\n\\' },
  });
  await putImage(ecr, rich, index, 'multi');
  await putImage(ecr, rich, imageIndex([index], { annotations: { note: 'of an index' } }), 'nested');
  await putImage(
    ecr,
    rich,
    manifestOf(MEDIA_TYPES.ociIndex, { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }),
  );
  const referring = (subject: Manifest, note: string): Manifest =>
    imageManifest(first.config, first.layers, {
      artifactType: 'application/vnd.example.sbom',
      subject,
      annotations: { note },
    });
  await putImage(ecr, rich, referring(index, 'of the index'), 'sbom');
  await putImage(ecr, rich, referring(imageManifest(imageConfig('nobody'), []), 'of an image nobody pushed'));

  // By SHA-512: a layer of several parts, and the image that names it so.
  const long = layer(12 * MEBIBYTE + 5, 'long');
  const upload = await beginUpload(ecr, rich);
  for (let at = 0; at < long.size; at += 6 * MEBIBYTE)
    await upload.part(long.bytes.subarray(at, at + 6 * MEBIBYTE), at);
  const longBy512 = { ...long, digest: sha512Of(long.bytes) };
  await upload.complete(longBy512.digest);
  const by512 = imageManifest(first.config, [longBy512, layer(1_000, 'first')]);
  await ecr.send(
    new PutImageCommand({
      repositoryName: rich,
      imageManifest: by512.text,
      imageDigest: sha512Of(by512.text),
      imageTag: 'by-sha512',
    }),
  );

  // Deleted with all in it, and created anew under the same name.
  for (const _life of [1, 2]) {
    await createRepository(ecr, {
      repositoryName: 'team/reborn',
      tags: [{ Key: 'life', Value: String(_life) }],
    });
    await pushImage(ecr, 'team/reborn', `life ${_life}`, ['latest']);
    if (_life === 1)
      await ecr.send(new DeleteRepositoryCommand({ repositoryName: 'team/reborn', force: true }));
  }
  await createRepository(ecr, { repositoryName: 'team/dead' });
  await pushImage(ecr, 'team/dead', 'dead', ['latest']);
  await ecr.send(new DeleteRepositoryCommand({ repositoryName: 'team/dead', force: true }));

  // The same names and layers in another Region.
  const elsewhere = registry.ecrWith({ region: OTHER_REGION });
  await createRepository(elsewhere, { repositoryName: rich });
  await pushImage(elsewhere, rich, 'first', ['latest']);
  elsewhere.destroy();

  // What belongs to no image: a layer, and an upload in the middle.
  const loose = layer(2_000, 'loose');
  await pushLayer(ecr, rich, loose);
  await (await beginUpload(ecr, rich)).part(layer(6 * MEBIBYTE, 'open').bytes, 0);
  return loose;
}
