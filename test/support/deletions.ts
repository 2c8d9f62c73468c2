import {
  BatchDeleteImageCommand,
  BatchGetImageCommand,
  DeleteRepositoryCommand,
  DescribeImagesCommand,
  type ImageIdentifier,
} from '@aws-sdk/client-ecr';
import { afterAll, beforeAll, beforeEach, expect } from '@jest/globals';
import {
  UndeleteService,
  type Undeleted,
  type UndeleteOptions,
  type Wanted,
} from '../../src/registry/images/trash/undelete.service.js';
import type { DeletedImage } from '../../src/registry/images/trash/deleted-image.js';
import { createRepository, type PushedImage } from './pushes.js';
import { startRegistry, type TestRegistry } from './registry.js';
import { describeEachStore } from './stores.js';
import { pull } from './upload-doors.js';

const REGISTRY = { accountId: '000000000000', region: 'us-east-1' };

/** What tests of deletions do in one repository. */
export class DeletionClient {
  private readonly service: UndeleteService;

  constructor(
    private readonly registry: TestRegistry,
    readonly repositoryName: string,
  ) {
    this.service = registry.app.get(UndeleteService, { strict: false });
  }

  async remove(...imageIds: ImageIdentifier[]): Promise<void> {
    const command = new BatchDeleteImageCommand({ repositoryName: this.repositoryName, imageIds });
    expect((await this.registry.ecr.send(command)).failures).toEqual([]);
  }

  async deleteRepository(): Promise<void> {
    const command = new DeleteRepositoryCommand({ repositoryName: this.repositoryName, force: true });
    await this.registry.ecr.send(command);
  }

  undelete(wanted: Wanted, options: Partial<UndeleteOptions> = {}): Promise<Undeleted[]> {
    const all = { moveTags: false, dryRun: false, ...options };
    return this.service.undelete(REGISTRY, this.repositoryName, wanted, all);
  }

  deleted(): Promise<DeletedImage[]> {
    return this.service.list(REGISTRY, this.repositoryName);
  }

  /** Tags by digest. */
  async images(): Promise<Record<string, string[]>> {
    const { imageDetails } = await this.registry.ecr.send(
      new DescribeImagesCommand({ repositoryName: this.repositoryName }),
    );
    return Object.fromEntries(
      imageDetails!.map(({ imageDigest, imageTags = [] }) => [imageDigest!, imageTags]),
    );
  }

  /** The image is there with every byte of it. */
  async expectWhole({ manifest, config, layers }: PushedImage): Promise<void> {
    const { images } = await this.registry.ecr.send(
      new BatchGetImageCommand({
        repositoryName: this.repositoryName,
        imageIds: [{ imageDigest: manifest.digest }],
      }),
    );
    expect(images![0]!.imageManifest).toBe(manifest.text);
    for (const blob of [config, ...layers])
      expect((await pull(this.registry, this.repositoryName, blob)).equals(blob.bytes)).toBe(true);
  }
}

export function outcomes(undeleted: Undeleted[]): [digest: string, outcome: string][] {
  return undeleted.map(({ image, restored }) => [image.digest, restored.outcome]);
}

/** What a test of deleted images begins with. */
export interface Deletions {
  /** Nothing is collected in it but what a test collects. */
  registry: TestRegistry;
  /** A repository of the test's own. */
  repository: string;
  /** In that repository. */
  client: DeletionClient;
  /** For the bytes of an image that no other test has. */
  seed: (text: string) => string;
  /** As if the grace time of every layer without an image were over. */
  endGraceOfLayers: () => Promise<void>;
}

/** The same promises about deleted images for every store; each test asks for what it begins with. */
export function describeDeletions(name: string, promises: (begun: () => Deletions) => void): void {
  describeEachStore(name, (store) => {
    let registry: TestRegistry;
    let repository: string;
    beforeAll(async () => {
      registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    });
    afterAll(() => registry?.close());
    beforeEach(async () => {
      repository = await createRepository(registry.ecr);
    });
    promises(() => ({
      registry,
      repository,
      client: new DeletionClient(registry, repository),
      seed: (text) => `${store} ${text} ${repository}`,
      endGraceOfLayers: async () => {
        await registry.prisma.$executeRaw`UPDATE loose_layer SET since = since - interval '25 hours'`;
      },
    }));
  });
}
