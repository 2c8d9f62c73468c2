import { MEBIBYTE } from '../support/pushes.js';
import type { Actor } from './actor.js';
import * as doors from './doors.js';
import type { Layers } from './layers.js';
import { PRESENT, repositoryKey, uploadKey } from './ledger.js';

const MOST = 4;

/** What one client does with repositories of its own. */
export class Repositories {
  constructor(
    private readonly actor: Actor,
    private readonly layers: Layers,
  ) {}

  async create(): Promise<string> {
    const name = `crash/${this.actor.nextName()}`;
    await this.actor.send(
      `CreateRepository ${name}`,
      [{ key: repositoryKey(name), value: PRESENT }],
      (signal) => doors.createRepository(this.actor.world.registry, name, signal),
    );
    return name;
  }

  /** Creates one, unless there are enough. */
  async createAnother(): Promise<void> {
    if (this.actor.ownRepositories().length < MOST) await this.create();
  }

  async deleteOne(): Promise<void> {
    const name = this.actor.quietRepository();
    if (name) await this.delete(name);
    else await this.createAnother();
  }

  /** With everything in it. */
  async delete(name: string): Promise<void> {
    await this.actor.send(`DeleteRepository ${name}`, this.actor.ledger.endOf(name), (signal) =>
      doors.deleteRepository(this.actor.world.registry, name, signal),
    );
  }

  /** What the running append makes of it is nobody's business once the repository is gone. */
  async deleteUnderUpload(): Promise<void> {
    const name = this.actor.quietRepository();
    if (!name) return this.createAnother();
    const blob = this.actor.blobOf(6 * MEBIBYTE);
    const id = await this.layers.beginWith(name, { blob, pieceBytes: blob.size, finish: 'oci' });
    this.layers.abandon(id);
    const { world, ledger } = this.actor;
    const append = ledger.doubt(`PATCH to ${name} while it is deleted`, [
      { key: uploadKey(name, id), value: String(blob.size) },
    ]);
    const piece = { bytes: blob.bytes, firstByte: 0 };
    const appending = world
      .sending((signal) => doors.appendPiece('oci', world.registry, name, id, piece, signal))
      .then(
        () => void (append.settled = true),
        (error: unknown) => world.missed(append, error, { refusable: true }),
      );
    try {
      await this.delete(name);
      await appending;
      ledger.refute(append);
    } finally {
      await appending;
    }
  }
}
