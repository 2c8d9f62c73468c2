import { type Blob, layer } from '../support/images.js';
import { MEBIBYTE } from '../support/pushes.js';
import { type Actor, SHARED } from './actor.js';
import * as doors from './doors.js';
import { type Effect, linkKey, PRESENT, uploadKey } from './ledger.js';
import { stalling } from './requests.js';

interface Session {
  repository: string;
  blob: Blob;
  pieceBytes: number;
  append: doors.Door | 'both';
  /** `with-rest`: the last piece rides on the completing request. */
  finish: doors.Door | 'with-rest';
}

/** What one client does with layers and their uploads. */
export class Layers {
  private readonly sessions = new Map<string, Session>();

  constructor(private readonly actor: Actor) {}

  async begin(): Promise<void> {
    if (this.open().length >= 4) return;
    const { random } = this.actor;
    const repository = this.actor.anyRepository();
    const kind = random.next();
    if (kind < 0.4) {
      const blob = this.actor.blobOf(random.integer(100, 60_000));
      await this.beginWith(repository, { blob, pieceBytes: blob.size, finish: this.actor.anyDoor() });
    } else if (kind < 0.6) {
      const blob = this.actor.popular(1);
      await this.beginWith(repository, { blob, pieceBytes: 5 * MEBIBYTE + 1, finish: this.actor.anyDoor() });
    } else if (kind < 0.8) {
      // Too short for parts of a store: kept in the database until the end.
      const blob = this.actor.blobOf(random.integer(30_000, 2_000_000));
      const finish = random.pick(['oci', 'with-rest'] as const);
      await this.beginWith(repository, { blob, pieceBytes: Math.ceil(blob.size / 3), append: 'oci', finish });
    } else await this.beginLarge(repository);
  }

  /** Several parts of a store, with or without a rest. */
  async beginLarge(repository = this.actor.anyRepository()): Promise<void> {
    const { random } = this.actor;
    const blob = this.actor.blobOf(Math.floor(random.pick([1.05, 2, 2.4, 3]) * 5.5 * MEBIBYTE));
    const append = random.pick(['ecr', 'oci', 'both'] as const);
    const finish = random.pick(['ecr', 'oci', 'with-rest'] as const);
    await this.beginWith(repository, { blob, pieceBytes: 5.5 * MEBIBYTE, append, finish });
  }

  /** The next step of any upload that is open: a piece, or its completion. */
  async continue(): Promise<void> {
    const open = this.open();
    if (open.length === 0) return this.begin();
    await this.advance(this.actor.random.pick(open)[0]);
  }

  /** Uploads this client began, to their ends. @param share how many of them */
  async finish(share: number): Promise<void> {
    for (const [id] of this.open()) {
      if (!this.actor.random.chance(share)) continue;
      while (this.sessions.has(id)) await this.advance(id);
    }
  }

  /** One step of an upload: a piece, or its completion. */
  async advance(id: string): Promise<void> {
    const session = this.sessions.get(id)!;
    const { repository, blob, pieceBytes, finish } = session;
    const firstByte = Number(this.actor.ledger.facts.get(uploadKey(repository, id)));
    const bytes = blob.bytes.subarray(firstByte, firstByte + pieceBytes);
    if (bytes.length === 0) await this.complete(id, session, undefined);
    else if (finish === 'with-rest' && firstByte + bytes.length === blob.size)
      await this.complete(id, session, { bytes, firstByte });
    else await this.append(id, session, { bytes, firstByte });
  }

  async cancel(): Promise<void> {
    const open = this.open();
    if (open.length < 2) return this.begin();
    const [id, { repository }] = this.actor.random.pick(open);
    const effects = [{ key: uploadKey(repository, id), value: undefined }];
    await this.actor.send(`DELETE of the upload ${id}`, effects, (signal) =>
      doors.cancelUpload(this.actor.world.registry, repository, id, signal),
    );
    this.sessions.delete(id);
  }

  /** A layer in one request. */
  async post(repository = this.actor.anyRepository(), blob = this.actor.smallBlob()): Promise<void> {
    await this.actor.send(
      `POST of ${blob.digest} to ${repository}`,
      [{ key: linkKey(repository, blob.digest), value: PRESENT }],
      (signal) => doors.postLayer(this.actor.world.registry, repository, blob, signal),
      { begins: repository },
    );
  }

  async mount(): Promise<void> {
    const from = this.actor.random.pick(SHARED);
    const to = this.actor.anyRepository();
    const there = this.actor.linkedLayers(from);
    if (there.length === 0 || from === to) return this.post();
    const digest = this.actor.random.pick(there);
    await this.actor.send(
      `mount of ${digest} from ${from} to ${to}`,
      [{ key: linkKey(to, digest), value: PRESENT }],
      (signal) => doors.mountLayer(this.actor.world.registry, from, to, digest, signal),
      { begins: to },
    );
  }

  async delete(repository = this.actor.anyRepository()): Promise<void> {
    const blob = this.actor.blobOf(this.actor.random.integer(100, 20_000), true);
    await this.post(repository, blob);
    const effects = [{ key: linkKey(repository, blob.digest), value: undefined }];
    await this.actor.send(`DELETE of ${blob.digest} in ${repository}`, effects, (signal) =>
      doors.deleteLayer(this.actor.world.registry, repository, blob.digest, signal),
    );
  }

  /** @returns the id */
  async beginWith(
    repository: string,
    session: Omit<Session, 'repository' | 'append'> & Partial<Pick<Session, 'append'>>,
  ): Promise<string> {
    const door = this.actor.anyDoor();
    const id = await this.actor.send(
      `beginning of an upload to ${repository}`,
      [],
      (signal) => doors.beginUpload(door, this.actor.world.registry, repository, signal),
      { begins: repository },
    );
    this.actor.ledger.set(uploadKey(repository, id!), '0');
    this.sessions.set(id!, { append: this.actor.anyDoor(), ...session, repository });
    return id!;
  }

  /** Somebody else takes care of it. */
  abandon(id: string): void {
    this.sessions.delete(id);
  }

  private open(): [id: string, session: Session][] {
    const { ledger } = this.actor;
    for (const [id, { repository }] of this.sessions) {
      const key = uploadKey(repository, id);
      if (!ledger.has(key) && ledger.isCertain(key)) this.sessions.delete(id);
    }
    return [...this.sessions].filter(([id, { repository }]) =>
      this.actor.isUsable(uploadKey(repository, id), repository),
    );
  }

  private async append(id: string, { repository, append }: Session, piece: doors.Piece): Promise<void> {
    const { world, random } = this.actor;
    const door = append === 'both' ? this.actor.anyDoor() : append;
    const stalls = world.cutting && door === 'oci' && random.chance(0.4);
    const sent = stalls ? { ...piece, body: stalling(piece.bytes) } : piece;
    const offset = piece.firstByte + piece.bytes.length;
    await this.actor.send(
      `${door} piece of ${piece.bytes.length} bytes up to ${offset} of ${id} in ${repository}`,
      [{ key: uploadKey(repository, id), value: String(offset) }],
      (signal) => doors.appendPiece(door, world.registry, repository, id, sent, signal),
    );
  }

  private async complete(id: string, session: Session, rest: doors.Piece | undefined): Promise<void> {
    const { repository, blob, finish } = session;
    const { registry } = this.actor.world;
    const door = finish === 'ecr' ? 'ecr' : 'oci';
    if (!rest && this.actor.random.chance(0.15)) {
      const wrong = layer(7, 'wrong').digest;
      const accept = ['InvalidLayerException', 'DIGEST_INVALID', 'BLOB_UPLOAD_INVALID'];
      const send = (signal: AbortSignal) =>
        doors.completeUpload(door, registry, repository, id, wrong, undefined, signal);
      await this.actor.send(`completion of ${id} with a wrong digest`, [], send, { accept });
    }
    const ended: Effect = { key: uploadKey(repository, id), value: undefined };
    // What rode on the request may have been taken before it all became a layer.
    if (rest) ended.between = String(blob.size);
    await this.actor.send(
      `completion of ${id} in ${repository} (${door}, ${rest?.bytes.length ?? 0} more bytes)`,
      [{ key: linkKey(repository, blob.digest), value: PRESENT }, ended],
      (signal) => doors.completeUpload(door, registry, repository, id, blob.digest, rest, signal),
      { accept: ['LayerAlreadyExistsException'] },
    );
    this.sessions.delete(id);
  }
}
