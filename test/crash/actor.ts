import { type Blob, layer } from '../support/images.js';
import { MEBIBYTE } from '../support/pushes.js';
import type { Door } from './doors.js';
import { type Ledger, linkKey, repositoryKey } from './ledger.js';
import type { Random } from './random.js';
import type { World } from './world.js';

/** Repositories all clients push to; they are never deleted. */
export const SHARED = ['crash/shared-1', 'crash/shared-2'];
/** Layers that many push, so that the same bytes arrive several times. */
const POPULAR = [0, 20_000, 1_000, 3 * MEBIBYTE, 6 * MEBIBYTE + 5];
/** Bytes over all layers of several MiB that one client makes up; later ones are the same again. */
const LARGE_BYTES = 100 * MEBIBYTE;

/**
 * Who does what a client does. What it may change or delete it owns, by name, so that nobody else's requests bear on what it
 * may expect; layers of the shared repositories are the exception, since they only ever come.
 */
export class Actor {
  private made = 0;
  private largeBytes = 0;

  constructor(
    readonly world: World,
    readonly name: string,
    /** Another one in every cycle. */
    public random: Random,
  ) {}

  get ledger(): Ledger {
    return this.world.ledger;
  }

  readonly send: World['attempt'] = (...request) => this.world.attempt(...request);

  /** Never given twice. */
  nextName(): string {
    return `${this.name}-${(this.made += 1)}`;
  }

  isMine(name: string): boolean {
    return name.startsWith(`${this.name}-`);
  }

  ownRepositories(): string[] {
    return this.ledger.repositories().filter((name) => this.isMine(name.replace('crash/', '')));
  }

  /** One of its own in which nothing is in doubt. */
  quietRepository(): string | undefined {
    const quiet = this.ownRepositories().filter((name) => this.ledger.isQuiet(name));
    return quiet.length > 0 ? this.random.pick(quiet) : undefined;
  }

  anyRepository(): string {
    const own = this.ownRepositories().filter((name) => this.ledger.isCertain(repositoryKey(name)));
    return own.length > 0 && this.random.chance(0.5) ? this.random.pick(own) : this.random.pick(SHARED);
  }

  anyDoor(): Door {
    return this.random.pick(['ecr', 'oci']);
  }

  /** Known for certain to be there, in a repository that is. */
  isUsable(key: string, repository: string): boolean {
    return (
      this.ledger.has(key) && this.ledger.isCertain(key) && this.ledger.isCertain(repositoryKey(repository))
    );
  }

  /** Layers of a repository that stay. */
  linkedLayers(repository: string): string[] {
    return this.ledger
      .in('link', repository)
      .map(([digest]) => digest)
      .filter((digest) => {
        const content = this.world.contents.get(digest);
        const stays = content?.kind === 'layer' && !content.passing;
        return stays && this.ledger.isCertain(linkKey(repository, digest));
      });
  }

  /** A descriptor needs no bytes. */
  described(digest: string): Blob {
    const content = this.world.contents.get(digest);
    return { digest, size: content?.kind === 'layer' ? content.size : 0, bytes: Buffer.alloc(0) };
  }

  popular(leastBytes = 0): Blob {
    const sizes = POPULAR.filter((size) => size >= leastBytes);
    const size = this.random.pick(sizes);
    return this.known(layer(size, `popular ${size}`));
  }

  smallBlob(): Blob {
    return this.random.chance(0.15) ? this.popular() : this.blobOf(this.random.integer(100, 20_000));
  }

  /** Bytes nobody else has, unless they would become too many. */
  blobOf(size: number, passing = false): Blob {
    const isLarge = size > MEBIBYTE;
    if (isLarge) this.largeBytes += size;
    const again = isLarge && this.largeBytes > LARGE_BYTES;
    return this.known(layer(size, again ? this.name : this.nextName()), passing);
  }

  known(blob: Blob, passing = false): Blob {
    this.world.contents.set(blob.digest, { kind: 'layer', size: blob.size, passing });
    return blob;
  }
}
