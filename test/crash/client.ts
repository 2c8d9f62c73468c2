import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultPoint } from '../../src/observability/fault-points.js';
import { MEBIBYTE } from '../support/pushes.js';
import { Actor } from './actor.js';
import { Images } from './images.js';
import { Layers } from './layers.js';
import type { Random } from './random.js';
import { Repositories } from './repositories.js';
import { Failed, Refused, Unanswered } from './requests.js';
import type { World } from './world.js';

/** How often a client does what. */
const WEIGHTS = {
  createRepository: 4,
  deleteRepository: 2,
  deleteRepositoryUnderUpload: 1,
  beginUpload: 10,
  beginLargeUpload: 1,
  continueUpload: 30,
  cancelUpload: 2,
  postLayer: 8,
  mountLayer: 6,
  deleteLayer: 4,
  pushImage: 16,
  pushIndex: 4,
  moveTag: 6,
  deleteTag: 3,
  deleteImage: 5,
};

type Deed = keyof typeof WEIGHTS;

/** What leads past a fault point sooner than chance would. */
const LEADS_TO: Partial<Record<FaultPoint, Deed[]>> = {
  'upload-cancelled': ['beginUpload', 'cancelUpload'],
  'layer-mounted': ['mountLayer'],
  'layer-unlinked': ['deleteLayer'],
  'completion-refused': ['beginUpload', 'continueUpload'],
  'image-removed': ['deleteImage', 'deleteTag'],
  'repository-created': ['createRepository'],
  'repository-deleted': ['createRepository', 'deleteRepository', 'deleteRepositoryUnderUpload'],
  'multipart-created': ['beginLargeUpload', 'continueUpload'],
  'multipart-part-stored': ['beginLargeUpload', 'continueUpload'],
  'rest-recorded': ['beginLargeUpload', 'continueUpload'],
  'multipart-rest-stored': ['beginLargeUpload', 'continueUpload'],
  'object-folder-made': ['beginLargeUpload', 'continueUpload'],
  'object-part-linked': ['beginLargeUpload', 'continueUpload'],
  'object-layout-written': ['beginLargeUpload', 'continueUpload'],
};

/** One client, which does one thing after the other, for as long as the registry lives. */
export class Client {
  private readonly actor: Actor;
  private readonly layers: Layers;
  private readonly images: Images;
  private readonly repositories: Repositories;

  constructor(world: World, name: string, random: Random) {
    this.actor = new Actor(world, name, random);
    this.layers = new Layers(this.actor);
    this.images = new Images(this.actor, this.layers);
    this.repositories = new Repositories(this.actor, this.layers);
  }

  /** @param towards a fault point somebody should pass */
  async work(random: Random, until: AbortSignal, towards?: FaultPoint): Promise<void> {
    this.actor.random = random;
    const leading = towards && LEADS_TO[towards];
    while (!until.aborted) {
      const deed = leading && random.chance(0.5) ? random.pick(leading) : weighted(random);
      await pastFailure(this.deeds[deed]());
    }
  }

  /** Uploads that are open, to their ends. @param share how many of them */
  async finishUploads(random: Random, share: number): Promise<void> {
    this.actor.random = random;
    await this.layers.finish(share);
  }

  /** One of everything that is made by requests and is for the collector to remove. */
  async makeGarbage(random: Random): Promise<void> {
    this.actor.random = random;
    const passing = await this.repositories.create();
    await this.images.push(passing);
    await this.layers.delete(passing);
    for (const repository of [passing, this.actor.anyRepository()]) {
      const blob = this.actor.blobOf(7 * MEBIBYTE);
      const open = await this.layers.beginWith(repository, { blob, pieceBytes: 6 * MEBIBYTE, finish: 'oci' });
      await this.layers.advance(open);
    }
    await this.repositories.delete(passing);
  }

  private readonly deeds: Record<Deed, () => Promise<unknown>> = {
    createRepository: () => this.repositories.createAnother(),
    deleteRepository: () => this.repositories.deleteOne(),
    deleteRepositoryUnderUpload: () => this.repositories.deleteUnderUpload(),
    beginUpload: () => this.layers.begin(),
    beginLargeUpload: () => this.layers.beginLarge(),
    continueUpload: () => this.layers.continue(),
    cancelUpload: () => this.layers.cancel(),
    postLayer: () => this.layers.post(),
    mountLayer: () => this.layers.mount(),
    deleteLayer: () => this.layers.delete(),
    pushImage: () => this.images.push(),
    pushIndex: () => this.images.pushIndex(),
    moveTag: () => this.images.moveTag(),
    deleteTag: () => this.images.deleteTag(),
    deleteImage: () => this.images.delete(),
  };
}

/** The ledger has taken note; the client goes on with something else, at a pace that leaves a dead registry alone. */
async function pastFailure(deed: Promise<unknown>): Promise<void> {
  try {
    await deed;
  } catch (error) {
    if (!(error instanceof Failed || error instanceof Refused || error instanceof Unanswered)) throw error;
    await sleep(20);
  }
}

function weighted(random: Random): Deed {
  const all = Object.entries(WEIGHTS) as [Deed, number][];
  let left = random.next() * all.reduce((sum, [, weight]) => sum + weight, 0);
  return all.find(([, weight]) => (left -= weight) < 0)?.[0] ?? 'continueUpload';
}
