import {
  BatchCheckLayerAvailabilityCommand,
  BatchGetImageCommand,
  GetDownloadUrlForLayerCommand,
  paginateDescribeRepositories,
  paginateListImages,
} from '@aws-sdk/client-ecr';
import type { PrismaService } from '../../src/database/prisma.service.js';
import { blobOf, MEDIA_TYPES } from '../support/images.js';
import { expectExactCounters } from '../support/recount.js';
import { type Finding, imageKey, linkKey, PRESENT, repositoryKey, tagKey, uploadKey } from './ledger.js';
import type { StoredBytes } from './stored-bytes.js';
import type { World } from './world.js';

export interface Observed {
  facts: Map<string, string>;
  findings: Finding[];
}

/** Everything the registry shows, asked for through its doors; and whether what it shows is really there. */
export async function observe(world: World, prisma: PrismaService, stored: StoredBytes): Promise<Observed> {
  const observation = new Observation(world, prisma);
  await observation.repositories();
  await observation.images();
  await observation.layers();
  await observation.uploads();
  await observation.counters();
  await observation.objects(stored);
  return observation;
}

class Observation implements Observed {
  readonly facts = new Map<string, string>();
  readonly findings: Finding[] = [];
  private readonly needed: { repositoryName: string; image: string; layer: string }[] = [];

  constructor(
    private readonly world: World,
    private readonly prisma: PrismaService,
  ) {}

  async repositories(): Promise<void> {
    for await (const page of paginateDescribeRepositories({ client: this.ecr }, {}))
      for (const { repositoryName } of page.repositories ?? [])
        this.facts.set(repositoryKey(repositoryName!), PRESENT);
  }

  async images(): Promise<void> {
    for (const repositoryName of this.names()) {
      const digests = new Set<string>();
      for await (const page of paginateListImages({ client: this.ecr }, { repositoryName })) {
        for (const { imageDigest, imageTag } of page.imageIds ?? []) {
          digests.add(imageDigest!);
          this.facts.set(imageKey(repositoryName, imageDigest!), PRESENT);
          if (imageTag === undefined) continue;
          this.facts.set(tagKey(repositoryName, imageTag), imageDigest!);
          await this.expectManifest(repositoryName, imageTag, imageDigest!);
        }
      }
      await this.expectManifests(repositoryName, [...digests]);
    }
  }

  /** Of the links only the rows can tell that there are no others. */
  async layers(): Promise<void> {
    const rows = await this.prisma.$queryRaw<{ repository: string; digest: string }[]>`
      SELECT r.name AS repository, 'sha256:' || b.sha256 AS digest
      FROM repository_layer l JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id`;
    const places = new Map<string, string[]>();
    for (const { repository, digest } of rows) {
      this.facts.set(linkKey(repository, digest), PRESENT);
      places.set(digest, [...(places.get(digest) ?? []), repository]);
    }
    for (const repositoryName of this.names()) {
      const known = this.world.ledger.in('link', repositoryName).map(([digest]) => digest);
      const there = [...places].flatMap(([digest, at]) => (at.includes(repositoryName) ? [digest] : []));
      await this.expectAvailable(repositoryName, [...new Set([...known, ...there])], new Set(there));
    }
    for (const [digest, [repository]] of places) await this.expectBytes(repository!, digest);
    for (const { repositoryName, image, layer } of this.needed)
      if (!places.get(layer)?.includes(repositoryName))
        this.halfVisible(`${repositoryName}@${image} needs ${layer}, which is not there`);
    await this.expectDownload();
  }

  async uploads(): Promise<void> {
    const rows = await this.prisma.$queryRaw<{ id: string; repository: string; offset: bigint }[]>`
      SELECT u.id::text, r.name AS repository, u.offset_bytes AS offset
      FROM upload u JOIN repository r ON r.id = u.repository_id WHERE u.state = 'open'`;
    for (const { id, repository, offset } of rows) {
      const { status, headers } = await this.get(`/v2/${repository}/blobs/uploads/${id}`);
      const last = Number(headers.get('range')?.split('-')[1]);
      if (status !== 204 || Math.max(Number(offset) - 1, 0) !== last)
        this.halfVisible(`the upload ${id} is at ${offset}, and its door says ${status}, ${last}`);
      this.facts.set(uploadKey(repository, id), String(offset));
    }
  }

  async counters(): Promise<void> {
    await expectExactCounters(this.prisma).catch((error: Error) =>
      this.halfVisible(`counters disagree with a recount: ${error.message}`),
    );
  }

  /** Every layer's row has its object, and of its size. */
  async objects(stored: StoredBytes): Promise<void> {
    const rows = await this.prisma.$queryRaw<{ key: string; size: bigint; sha256: string }[]>`
      SELECT object_key AS key, size_bytes AS size, sha256 FROM blob`;
    const objects = await stored.objects();
    for (const { key, size, sha256 } of rows) {
      if (objects.get(key) !== Number(size))
        this.lost(`the object ${key} of sha256:${sha256}: ${objects.get(key) ?? 'none'} of ${size} bytes`);
    }
  }

  private get ecr() {
    return this.world.registry.ecr;
  }

  private names(): string[] {
    return [...this.facts.keys()].flatMap((key) =>
      key.startsWith('repository ') ? [key.slice('repository '.length)] : [],
    );
  }

  private async get(path: string): Promise<{ status: number; headers: Headers; bytes: Buffer }> {
    const headers = { accept: Object.values(MEDIA_TYPES).join() };
    const response = await this.world.registry.fetchOci(path, { headers });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes };
  }

  private async expectManifest(repository: string, reference: string, digest: string): Promise<void> {
    const { status, headers, bytes } = await this.get(`/v2/${repository}/manifests/${reference}`);
    if (status !== 200 || headers.get('docker-content-digest') !== digest || !this.isManifest(digest, bytes))
      this.halfVisible(`${repository}:${reference} is listed as ${digest} and answered with ${status}`);
  }

  private async expectManifests(repositoryName: string, digests: string[]): Promise<void> {
    const images = [];
    for (const chunk of chunks(digests)) {
      const imageIds = chunk.map((imageDigest) => ({ imageDigest }));
      images.push(
        ...((await this.ecr.send(new BatchGetImageCommand({ repositoryName, imageIds }))).images ?? []),
      );
    }
    for (const digest of digests) {
      const image = images.find(({ imageId }) => imageId?.imageDigest === digest);
      if (!image || !this.isManifest(digest, Buffer.from(image.imageManifest!)))
        this.halfVisible(`${repositoryName}@${digest} is listed and cannot be got`);
      for (const layer of layersOf(image?.imageManifest))
        this.needed.push({ repositoryName, image: digest, layer: layer.digest });
    }
  }

  private isManifest(digest: string, bytes: Buffer): boolean {
    const content = this.world.contents.get(digest);
    return content?.kind === 'manifest' && bytes.toString() === content.text;
  }

  private async expectAvailable(
    repositoryName: string,
    digests: string[],
    there: ReadonlySet<string>,
  ): Promise<void> {
    for (const layerDigests of chunks(digests)) {
      const { layers = [] } = await this.ecr.send(
        new BatchCheckLayerAvailabilityCommand({ repositoryName, layerDigests }),
      );
      for (const digest of layerDigests) {
        const available = layers.find(({ layerDigest }) => layerDigest === digest);
        if ((available !== undefined) !== there.has(digest))
          this.halfVisible(
            `${digest} in ${repositoryName} is ${available ? '' : 'not '}said to be available`,
          );
        const content = this.world.contents.get(digest);
        if (available && (content?.kind !== 'layer' || content.size !== available.layerSize))
          this.halfVisible(`${digest} is said to have ${available.layerSize} bytes`);
      }
    }
  }

  private async expectBytes(repository: string, digest: string): Promise<void> {
    const { status, bytes } = await this.get(`/v2/${repository}/blobs/${digest}`);
    const pulled = status === 200 ? blobOf(bytes).digest : String(status);
    if (pulled !== digest) this.lost(`${digest} is available in ${repository}, and pulled as ${pulled}`);
  }

  /** Of some layer an image needs, as the ECR door hands it out. */
  private async expectDownload(): Promise<void> {
    const one = this.needed[Math.floor(this.needed.length / 2)];
    if (!one) return;
    const { repositoryName, layer: layerDigest } = one;
    const question = new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest });
    const { downloadUrl } = await this.ecr.send(question);
    const response = await fetch(downloadUrl!);
    const { digest } = blobOf(Buffer.from(await response.arrayBuffer()));
    if (digest !== layerDigest) this.lost(`${layerDigest} is downloaded as ${digest}`);
  }

  private halfVisible(text: string): void {
    this.findings.push({ kind: 'half-visible', text });
  }

  private lost(text: string): void {
    this.findings.push({ kind: 'lost', text });
  }
}

/** ECR takes up to 100 of anything at once. */
function chunks<Item>(items: Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / 100) }, (_, index) =>
    items.slice(index * 100, index * 100 + 100),
  );
}

function layersOf(manifest: string | undefined): { digest: string }[] {
  if (manifest === undefined) return [];
  const { config, layers } = JSON.parse(manifest) as {
    config?: { digest: string };
    layers?: { digest: string }[];
  };
  return [config ?? [], layers ?? []].flat();
}
