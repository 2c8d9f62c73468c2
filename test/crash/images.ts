import { type Blob, imageConfig, imageIndex, imageManifest, type Manifest } from '../support/images.js';
import type { Actor } from './actor.js';
import * as doors from './doors.js';
import { type Effect, imageKey, linkKey, PRESENT, tagKey } from './ledger.js';
import type { Layers } from './layers.js';

interface PushedManifest {
  repository: string;
  manifest: Manifest;
  layers: string[];
  /** Images it names. */
  children: string[];
}

/** What one client does with images, indexes and tags. */
export class Images {
  private readonly pushed = new Map<string, PushedManifest>();

  constructor(
    private readonly actor: Actor,
    private readonly layers: Layers,
  ) {}

  async push(repository = this.actor.anyRepository()): Promise<PushedManifest> {
    const config = this.actor.known(imageConfig(this.actor.nextName()));
    await this.layers.post(repository, config);
    const there = this.actor.linkedLayers(repository).filter((digest) => digest !== config.digest);
    const chosen = this.actor.random.shuffled(there).slice(0, 2);
    const layers: Blob[] = chosen.map((digest) => this.actor.described(digest));
    const manifest = imageManifest(config, layers);
    const image = { repository, manifest, layers: [config.digest, ...chosen], children: [] };
    await this.put(image, this.actor.random.chance(0.8) ? this.actor.nextName() : undefined);
    return image;
  }

  async pushIndex(): Promise<void> {
    const repository = this.actor.anyRepository();
    const images = this.present().filter(
      (image) => image.repository === repository && image.children.length === 0,
    );
    if (images.length < 2) return void (await this.push(repository));
    const children = this.actor.random.shuffled(images).slice(0, 2);
    const manifest = imageIndex(
      children.map((child) => child.manifest),
      { annotations: { made: this.actor.nextName() } },
    );
    const digests = children.map((child) => child.manifest.digest);
    await this.put({ repository, manifest, layers: [], children: digests }, this.actor.nextName());
  }

  /** Puts a tag, one that is taken if there is any, on an image that is there. */
  async moveTag(): Promise<void> {
    const image = await this.any();
    const taken = this.ownTags(image.repository);
    await this.put(image, taken.length > 0 ? this.actor.random.pick(taken) : this.actor.nextName());
  }

  async deleteTag(): Promise<void> {
    const { repository } = await this.any();
    const tags = this.ownTags(repository);
    if (tags.length === 0) return;
    const tag = this.actor.random.pick(tags);
    const effects = [{ key: tagKey(repository, tag), value: undefined }];
    await this.actor.send(`DELETE of the tag ${tag} in ${repository}`, effects, (signal) =>
      doors.deleteManifest(this.actor.world.registry, repository, tag, signal),
    );
  }

  async delete(): Promise<void> {
    const named = new Set(
      [...this.pushed.values()].flatMap((image) => (this.maybe(image) ? image.children : [])),
    );
    const image = this.present().find(({ manifest }) => !named.has(manifest.digest));
    if (!image) return void (await this.push());
    const { repository, manifest } = image;
    const tags = this.actor.ledger
      .in('tag', repository)
      .flatMap(([tag, digest]) => (digest === manifest.digest ? [tag] : []));
    if (!tags.every((tag) => this.actor.ledger.isCertain(tagKey(repository, tag)))) return;
    const all: Effect[] = [
      imageKey(repository, manifest.digest),
      ...tags.map((tag) => tagKey(repository, tag)),
    ].map((key) => ({ key, value: undefined }));
    const { registry } = this.actor.world;
    if (this.actor.random.chance(0.3)) {
      await this.actor.send(`DELETE of ${manifest.digest} in ${repository}`, all, (signal) =>
        doors.deleteManifest(registry, repository, manifest.digest, signal),
      );
      return;
    }
    const imageTag = this.actor.random.chance(0.5) ? tags[0] : undefined;
    // The last tag takes its image along, any other goes alone.
    const alone = imageTag !== undefined && tags.length > 1;
    const effects = alone ? [{ key: tagKey(repository, imageTag), value: undefined }] : all;
    const id = imageTag === undefined ? { imageDigest: manifest.digest } : { imageTag };
    await this.actor.send(`BatchDeleteImage ${JSON.stringify(id)} in ${repository}`, effects, (signal) =>
      doors.batchDelete(registry, repository, id, signal),
    );
  }

  private async put(image: PushedManifest, tag: string | undefined): Promise<void> {
    const { repository, manifest, layers } = image;
    const { digest } = manifest;
    this.pushed.set(`${repository} ${digest}`, image);
    this.actor.world.contents.set(digest, { kind: 'manifest', text: manifest.text, layers });
    const door = this.actor.random.pick(['ecr', 'oci', 'oci by digest'] as const);
    const effects = [{ key: imageKey(repository, digest), value: PRESENT }];
    if (tag !== undefined) effects.push({ key: tagKey(repository, tag), value: digest });
    await this.actor.send(
      `push of ${digest} as ${tag ?? 'no tag'} to ${repository} (${door})`,
      effects,
      (signal) => doors.putManifest(door, this.actor.world.registry, repository, manifest, tag, signal),
      { accept: ['ImageAlreadyExistsException'] },
    );
  }

  private async any(): Promise<PushedManifest> {
    const present = this.present().slice(-20);
    return present.length > 0 ? this.actor.random.pick(present) : this.push();
  }

  private present(): PushedManifest[] {
    const { ledger } = this.actor;
    for (const [name, { repository, manifest }] of this.pushed) {
      const key = imageKey(repository, manifest.digest);
      if (!ledger.has(key) && ledger.isCertain(key)) this.pushed.delete(name);
    }
    return [...this.pushed.values()].filter(
      ({ repository, manifest, layers }) =>
        this.actor.isUsable(imageKey(repository, manifest.digest), repository) &&
        layers.every((digest) => ledger.has(linkKey(repository, digest))),
    );
  }

  private maybe({ repository, manifest }: PushedManifest): boolean {
    const key = imageKey(repository, manifest.digest);
    return this.actor.ledger.has(key) || !this.actor.ledger.isCertain(key);
  }

  private ownTags(repository: string): string[] {
    return this.actor.ledger
      .in('tag', repository)
      .map(([tag]) => tag)
      .filter((tag) => this.actor.isMine(tag) && this.actor.ledger.isCertain(tagKey(repository, tag)));
  }
}
