/** Over 300 lines: what the clients do and what the model remembers of it must be read together. */
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  DeleteRepositoryCommand,
  type ImageIdentifier,
} from '@aws-sdk/client-ecr';
import { expect } from '@jest/globals';
import fc from 'fast-check';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { UndeleteService } from '../../src/registry/images/trash/undelete.service.js';
import { running } from './collecting.js';
import { type Blob, imageConfig, imageIndex, imageManifest, layer, type Manifest } from './images.js';
import { createRepository, pushLayer, putImage } from './pushes.js';
import type { TestRegistry } from './registry.js';

/** Few of everything, so that what runs at the same time meets. */
const NAMES = ['model/one', 'model/two'];
const TAGS = ['latest', 'v1'];
const BLOBS: Blob[] = [
  imageConfig('model'),
  ...[1, 2, 3, 4].map((seed) => layer(700 * seed, `model ${seed}`)),
];
const IMAGES: { manifest: Manifest; blobs: Blob[]; children: number[] }[] = [[1], [1, 2], [2, 3], [3, 4]].map(
  (named) => {
    const layers = named.map((index) => BLOBS[index]!);
    return { manifest: imageManifest(BLOBS[0]!, layers), blobs: [BLOBS[0]!, ...layers], children: [] };
  },
);
IMAGES.push({
  manifest: imageIndex([IMAGES[0]!.manifest, IMAGES[1]!.manifest]),
  blobs: [],
  children: [0, 1],
});

export type Step =
  | { do: 'push' | 'pull'; repository: number; image: number; tag: number }
  | { do: 'upload' | 'delete-blob'; repository: number; blob: number }
  | { do: 'mount'; repository: number; blob: number }
  | { do: 'delete-image'; repository: number; image: number }
  | { do: 'delete-tag'; repository: number; tag: number }
  | { do: 'delete-repository' | 'undelete'; repository: number }
  | { do: 'collect' }
  | { do: 'age'; hours: number };

const repository = fc.nat({ max: NAMES.length - 1 });
const image = fc.nat({ max: IMAGES.length - 1 });
const blob = fc.nat({ max: BLOBS.length - 1 });
const tag = fc.nat({ max: TAGS.length - 1 });

/** What one client does, one step after the other. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant('push' as const), repository, image, tag }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('pull' as const), repository, image, tag }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('upload' as const), repository, blob }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('mount' as const), repository, blob }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete-blob' as const), repository, blob }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('delete-image' as const), repository, image }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('delete-tag' as const), repository, tag }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete-repository' as const), repository }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('undelete' as const), repository }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('collect' as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('age' as const), hours: fc.constantFrom(7, 13, 25) }),
    },
  ),
  { minLength: 6, maxLength: 14 },
);

/** What a client may be told at any time by a registry that others use. */
const MAY_HAPPEN =
  /^(RepositoryNotFound|ImageNotFound|UploadNotFound|LayersNotFound|ReferencedImagesNotFound|ImageAlreadyExists)Exception$/;

/** Since a client was told that a layer is there: whether anything may have taken it away all the same. */
interface Mark {
  hours: number;
  removals: number;
  running: number;
}

/** Runs steps against a registry and knows what must hold whatever runs at the same time. */
export class CollectionModel {
  /** Hours everything that waits was made older by. */
  private hours = 0;
  /** Deletions of a repository or of a layer: begun so far, and running now. */
  private readonly removals = NAMES.map(() => ({ begun: 0, running: 0 }));
  private moment = 0;
  /** When the last acknowledged push of an image began, and when the last deletion that may have meant it ended. */
  private readonly pushed = new Map<string, number>();
  private readonly deleted = new Map<string, number>();
  readonly faults: string[] = [];

  constructor(private readonly registries: TestRegistry[]) {}

  async begin(): Promise<void> {
    for (const repositoryName of NAMES) await createRepository(this.registries[0]!.ecr, { repositoryName });
  }

  /** One client of one of the processes. */
  async run(client: number, todo: Step[]): Promise<void> {
    const registry = this.registries[client % this.registries.length]!;
    for (const step of todo) {
      await this.step(registry, step).catch((error: unknown) => {
        const { name, code } = error as { name?: string; code?: string };
        if (MAY_HAPPEN.test(name ?? '') || MAY_HAPPEN.test(`${code}Exception`)) return;
        this.faults.push(`${JSON.stringify(step)}: ${(error as Error).stack}`);
      });
    }
  }

  /** Every image is there with all its bytes, and every image that was pushed and not deleted since. */
  async expectWhole(): Promise<void> {
    expect(this.faults).toEqual([]);
    const { prisma } = this.registries[0]!;
    const rows = await prisma.image.findMany({ include: { repository: { select: { name: true } } } });
    for (const { digest, repository } of rows) await this.pullWhole(repository.name, digest);
    const present = new Set(rows.map(({ digest, repository }) => `${repository.name} ${digest}`));
    for (const [key, began] of this.pushed)
      if (!present.has(key) && (this.deleted.get(key) ?? -1) < began)
        this.faults.push(`${key} was pushed, never deleted since, and is gone`);
    expect(this.faults).toEqual([]);
  }

  /** Brings everything back that can be. */
  async undeleteAll(): Promise<void> {
    for (const index of NAMES.keys()) await this.undelete(this.registries[0]!, index);
  }

  async deleteEverything(): Promise<void> {
    for (const repositoryName of NAMES)
      await this.registries[0]!.ecr.send(new DeleteRepositoryCommand({ repositoryName, force: true }));
  }

  /** As if hours had passed since everything that waits for the collector began to wait. */
  async age(registry: TestRegistry, hours: number): Promise<void> {
    const { prisma } = registry;
    this.hours += hours;
    for (const statement of [
      `UPDATE loose_layer SET since = since - interval '${hours} hours'`,
      `UPDATE deleted_image SET deleted_at = deleted_at - interval '${hours} hours'`,
      `UPDATE doomed_object SET not_before = not_before - interval '${hours} hours'`,
    ]) {
      // In no order, so that it may meet the collector in a deadlock; then again.
      for (let done = false; !done;)
        done = await prisma.$executeRawUnsafe(statement).then(
          () => true,
          () => false,
        );
    }
  }

  private async step(registry: TestRegistry, step: Step): Promise<void> {
    switch (step.do) {
      case 'push':
        return this.push(registry, step.repository, step.image, TAGS[step.tag]!);
      case 'pull':
        return this.pull(registry, step.repository, step.image);
      case 'upload':
        return pushLayer(registry.ecr, NAMES[step.repository]!, BLOBS[step.blob]!);
      case 'mount':
        return this.mount(registry, step.repository, BLOBS[step.blob]!);
      case 'delete-blob':
        return this.removing([step.repository], [], async () => {
          const path = `/v2/${NAMES[step.repository]}/blobs/${BLOBS[step.blob]!.digest}`;
          expectStatus(await registry.fetchOci(path, { method: 'DELETE' }), 202, 404, 405);
        });
      case 'delete-image':
        return this.deleteImage(registry, step.repository, [step.image], {
          imageDigest: IMAGES[step.image]!.manifest.digest,
        });
      case 'delete-tag':
        return this.deleteImage(registry, step.repository, [...IMAGES.keys()], { imageTag: TAGS[step.tag]! });
      case 'delete-repository':
        return this.removing([step.repository], [...IMAGES.keys()], async () => {
          const repositoryName = NAMES[step.repository]!;
          await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName, force: true }));
          await createRepository(registry.ecr, { repositoryName });
        });
      case 'undelete':
        return this.undelete(registry, step.repository);
      case 'collect':
        await registry.app.get(CollectionService, { strict: false }).collect(running);
        return undefined;
      case 'age':
        return this.age(registry, step.hours);
    }
  }

  /** As clients push: ask, upload what is missing, then the manifest. */
  private async push(registry: TestRegistry, at: number, index: number, imageTag: string): Promise<void> {
    const { manifest, blobs, children } = IMAGES[index]!;
    const repositoryName = NAMES[at]!;
    for (const child of children) await this.push(registry, at, child, TAGS[child % TAGS.length]!);
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const mark = this.mark(at);
      if (blobs.length > 0) {
        const { layers } = await registry.ecr.send(
          new BatchCheckLayerAvailabilityCommand({
            repositoryName,
            layerDigests: blobs.map(({ digest }) => digest),
          }),
        );
        const there = new Set(layers!.map(({ layerDigest }) => layerDigest));
        for (const blob of blobs)
          if (!there.has(blob.digest)) await pushLayer(registry.ecr, repositoryName, blob);
      }
      const began = ++this.moment;
      try {
        await putImage(registry.ecr, repositoryName, manifest, imageTag);
        this.pushed.set(`${repositoryName} ${manifest.digest}`, began);
        return;
      } catch (error) {
        const { name } = error as Error;
        if (name !== 'LayersNotFoundException') throw error;
        if (!this.excused(at, mark))
          this.faults.push(`A layer of image ${index} in ${repositoryName} was there, and gone at the push`);
      }
    }
  }

  private async pull(registry: TestRegistry, at: number, index: number): Promise<void> {
    const mark = this.mark(at);
    const { manifest, blobs } = IMAGES[index]!;
    const path = `/v2/${NAMES[at]}`;
    const found = await registry.fetchOci(`${path}/manifests/${manifest.digest}`);
    if (found.status === 404) return;
    expectStatus(found, 200);
    expect(await found.text()).toBe(manifest.text);
    for (const blob of blobs) {
      const response = await registry.fetchOci(`${path}/blobs/${blob.digest}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      if (response.status === 200 && bytes.equals(blob.bytes)) continue;
      // The image may have been deleted meanwhile; its layers stay for the grace time all the same.
      if (response.status === 404 && this.excused(at, mark)) continue;
      this.faults.push(
        `Image ${index} of ${NAMES[at]} was pulled without ${blob.digest}: ${response.status}`,
      );
    }
  }

  private async mount(registry: TestRegistry, to: number, blob: Blob): Promise<void> {
    const from = NAMES[(to + 1) % NAMES.length];
    const path = `/v2/${NAMES[to]}/blobs/uploads/?mount=${blob.digest}&from=${from}`;
    const mark = this.mark(to);
    const mounted = await registry.fetchOci(path, { method: 'POST' });
    expectStatus(mounted, 201, 202, 404);
    if (mounted.status !== 201) return;
    const head = await registry.fetchOci(`/v2/${NAMES[to]}/blobs/${blob.digest}`, { method: 'HEAD' });
    if (head.status !== 200 && !this.excused(to, mark))
      this.faults.push(`${blob.digest} was mounted into ${NAMES[to]}, and is not there: ${head.status}`);
  }

  private async deleteImage(
    registry: TestRegistry,
    at: number,
    images: number[],
    imageId: ImageIdentifier,
  ): Promise<void> {
    const command = new BatchDeleteImageCommand({ repositoryName: NAMES[at]!, imageIds: [imageId] });
    try {
      await registry.ecr.send(command);
    } finally {
      this.mayHaveDeleted(at, images);
    }
  }

  private async undelete(registry: TestRegistry, at: number): Promise<void> {
    const service = registry.app.get(UndeleteService, { strict: false });
    const address = { accountId: '000000000000', region: 'us-east-1' };
    const undeleted = await service.undelete(address, NAMES[at]!, 'all', { moveTags: false, dryRun: false });
    for (const { restored } of undeleted) expect(restored.outcome).not.toBe('exceeded');
  }

  private async removing(at: number[], images: number[], work: () => Promise<void>): Promise<void> {
    for (const index of at) {
      this.removals[index]!.begun += 1;
      this.removals[index]!.running += 1;
    }
    try {
      await work();
    } finally {
      for (const index of at) {
        this.removals[index]!.running -= 1;
        this.mayHaveDeleted(index, images);
      }
    }
  }

  private mayHaveDeleted(at: number, images: number[]): void {
    const ended = ++this.moment;
    for (const index of images) this.deleted.set(`${NAMES[at]} ${IMAGES[index]!.manifest.digest}`, ended);
  }

  private mark(at: number): Mark {
    const { begun, running } = this.removals[at]!;
    return { hours: this.hours, removals: begun, running };
  }

  /** Half the grace time is promised; a deletion asked for takes things away at once. */
  private excused(at: number, mark: Mark): boolean {
    return this.hours - mark.hours >= 12 || mark.running > 0 || this.removals[at]!.begun > mark.removals;
  }

  private async pullWhole(repositoryName: string, digest: string): Promise<void> {
    const { manifest, blobs } = IMAGES.find((one) => one.manifest.digest === digest)!;
    const registry = this.registries.at(-1)!;
    const found = await registry.fetchOci(`/v2/${repositoryName}/manifests/${digest}`);
    if (found.status !== 200 || (await found.text()) !== manifest.text)
      this.faults.push(`${repositoryName} ${digest} cannot be pulled: ${found.status}`);
    for (const blob of blobs) {
      const response = await registry.fetchOci(`/v2/${repositoryName}/blobs/${blob.digest}`);
      if (!Buffer.from(await response.arrayBuffer()).equals(blob.bytes))
        this.faults.push(`${repositoryName} ${digest} has lost ${blob.digest}: ${response.status}`);
    }
  }
}

function expectStatus(response: Response, ...statuses: number[]): void {
  if (!statuses.includes(response.status)) throw new Error(`${response.url} answered ${response.status}`);
}
