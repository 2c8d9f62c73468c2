import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { InvalidLayerPartException, UploadNotFoundException } from '@aws-sdk/client-ecr';
import { request } from 'node:http';
import { type Blob, layer } from '../support/images.js';
import { createRepository, MEBIBYTE, uploadOf } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { areEcrParts, pull, UPLOAD_DOORS } from '../support/upload-doors.js';

const SIZES: Readonly<Record<string, number[]>> = {
  'one byte': [1],
  'five single bytes': [1, 1, 1, 1, 1],
  'pieces of one MiB': Array.from({ length: 23 }, () => MEBIBYTE),
  'one byte less than 5 MiB, then more': [5 * MEBIBYTE - 1, 3 * MEBIBYTE],
  'pieces of 5 MiB and one byte': Array.from({ length: 3 }, () => 5 * MEBIBYTE + 1),
  'exactly 5 MiB': [5 * MEBIBYTE],
  '17 MiB, then one byte': [17 * MEBIBYTE, 1],
  'every size at once': [1, 5 * MEBIBYTE, 7, 16 * MEBIBYTE + 3, 5 * MEBIBYTE - 1, 2],
};

const total = (sizes: number[]): number => sizes.reduce((sum, size) => sum + size, 0);

describeEachStore('A layer upload', (store) => {
  let registry: TestRegistry;
  let replica: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store });
    replica = await startReplica(registry);
    repository = await createRepository(registry.ecr);
  });
  afterAll(async () => {
    await replica?.close();
    await registry?.close();
  });

  const statusOf = async (upload: string): Promise<[number, string | null]> => {
    const { status, headers } = await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload}`);
    return [status, headers.get('range')];
  };

  describe.each(Object.entries(UPLOAD_DOORS))('through %s', (doorName, open) => {
    /** Sends the pieces of a layer to whom `at` names for each of them. */
    const pushPieces = async (
      blob: Blob,
      sizes: number[],
      at: (piece: number) => TestRegistry,
    ): Promise<{ upload: string; finish: (by: TestRegistry) => Promise<void> }> => {
      const door = open();
      const upload = await door.begin(at(0), repository);
      let first = 0;
      for (const [piece, size] of sizes.entries()) {
        await door.append(at(piece), repository, upload, blob.bytes.subarray(first, first + size), first);
        first += size;
      }
      const end = areEcrParts(sizes) ? door : UPLOAD_DOORS['the OCI door']!();
      return { upload, finish: (by) => end.complete(by, repository, upload, blob.digest) };
    };

    it.each(Object.entries(SIZES))('gives back the same bytes after %s', async (what, sizes) => {
      const blob = layer(total(sizes), `${doorName} ${what}`);
      const { finish } = await pushPieces(blob, sizes, () => registry);
      await finish(registry);
      expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    });

    it('can be finished by another process, which never saw its first bytes', async () => {
      const sizes = [6 * MEBIBYTE, 5 * MEBIBYTE, 3];
      const blob = layer(total(sizes), `${doorName} handed over`);
      const { finish } = await pushPieces(blob, sizes, () => registry);
      await finish(replica);
      expect((await pull(replica, repository, blob)).equals(blob.bytes)).toBe(true);
    });

    it('can change between processes with every piece', async () => {
      const sizes = [6 * MEBIBYTE, 5 * MEBIBYTE, 5 * MEBIBYTE, 7 * MEBIBYTE, 9];
      const blob = layer(total(sizes), `${doorName} back and forth`);
      const { finish } = await pushPieces(blob, sizes, (piece) => (piece % 2 === 0 ? registry : replica));
      await finish(registry);
      expect((await pull(replica, repository, blob)).equals(blob.bytes)).toBe(true);
    });

    it('is refused with wrong bytes, also by a process that must read them again to know', async () => {
      const blob = layer(6 * MEBIBYTE, `${doorName} wrong digest`);
      const { upload, finish } = await pushPieces(blob, [blob.size], () => registry);
      const wrong = open().complete(replica, repository, upload, layer(1).digest);
      await expect(wrong).rejects.toThrow('None of the provided layer digests match');
      await finish(replica);
      expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    });

    it('takes a piece at the right offset only, and tells it at either door', async () => {
      const blob = layer(11 * MEBIBYTE, `${doorName} offsets`);
      const door = open();
      const upload = await door.begin(registry, repository);
      const half = 6 * MEBIBYTE;
      await door.append(registry, repository, upload, blob.bytes.subarray(0, half), 0);
      expect(await statusOf(upload)).toEqual([204, `0-${half - 1}`]);
      for (const firstByte of [half - 1, half + 1]) {
        const viaEcr = uploadOf(registry.ecr, repository, upload).part(Buffer.from('x'), firstByte);
        expect((await refusal(viaEcr, InvalidLayerPartException)).lastValidByteReceived).toBe(half - 1);
        const viaOci = await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload}`, {
          method: 'PATCH',
          headers: { 'content-range': `${firstByte}-${firstByte}` },
          body: 'x',
        });
        expect([viaOci.status, viaOci.headers.get('range')]).toEqual([416, `0-${half - 1}`]);
      }
      await door.append(registry, repository, upload, blob.bytes.subarray(half), half);
      await door.complete(registry, repository, upload, blob.digest);
      expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    });

    it('is gone at both doors once it is cancelled', async () => {
      const door = open();
      const upload = await door.begin(registry, repository);
      await door.append(registry, repository, upload, layer(6 * MEBIBYTE, 'cancelled').bytes, 0);
      const cancelled = await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload}`, {
        method: 'DELETE',
      });
      expect(cancelled.status).toBe(204);
      expect((await statusOf(upload))[0]).toBe(404);
      const part = uploadOf(replica.ecr, repository, upload).part(Buffer.from('x'), 6 * MEBIBYTE);
      await refusal(part, UploadNotFoundException);
      await expect(door.complete(registry, repository, upload, layer(1).digest)).rejects.toThrow();
    });

    it('goes on where it stood after a connection broke in the middle of a piece', async () => {
      const blob = layer(13 * MEBIBYTE, `${doorName} resumed`);
      const half = 6 * MEBIBYTE;
      const door = open();
      const upload = await door.begin(registry, repository);
      await door.append(registry, repository, upload, blob.bytes.subarray(0, half), 0);
      await breakOff(registry, `/v2/${repository}/blobs/uploads/${upload}`, blob.bytes.subarray(half));
      expect(await statusOf(upload)).toEqual([204, `0-${half - 1}`]);
      await door.append(registry, repository, upload, blob.bytes.subarray(half), half);
      await door.complete(registry, repository, upload, blob.digest);
      expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    });

    it('accepts one of the pieces that several processes send for the same place, as a whole', async () => {
      const rivals = ['a', 'b', 'c', 'd'].map((seed) => layer(6 * MEBIBYTE, `${doorName} rival ${seed}`));
      const door = open();
      const upload = await door.begin(registry, repository);
      const outcomes = await Promise.allSettled(
        rivals.map(({ bytes }, index) =>
          door.append(index % 2 === 0 ? registry : replica, repository, upload, bytes, 0),
        ),
      );
      const winners = rivals.filter((_, index) => outcomes[index]!.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      await door.complete(replica, repository, upload, winners[0]!.digest);
      expect((await pull(registry, repository, winners[0]!)).equals(winners[0]!.bytes)).toBe(true);
    });
  });

  it('may be empty at the OCI door, where an empty blob is a blob', async () => {
    const empty = layer(0);
    const door = UPLOAD_DOORS['the OCI door']!();
    const upload = await door.begin(registry, repository);
    await door.complete(registry, repository, upload, empty.digest);
    expect(await pull(registry, repository, empty)).toHaveLength(0);
  });

  it.each([1, 5 * MEBIBYTE, 17 * MEBIBYTE + 1])('may bring its last %i bytes with its end', async (size) => {
    const blob = layer(6 * MEBIBYTE + size, `with its end ${size}`);
    const door = UPLOAD_DOORS['the OCI door']!();
    const upload = await door.begin(registry, repository);
    await door.append(registry, repository, upload, blob.bytes.subarray(0, 6 * MEBIBYTE), 0);
    const url = `/v2/${repository}/blobs/uploads/${upload}?digest=`;
    const body = new Uint8Array(blob.bytes.subarray(6 * MEBIBYTE));
    // Refused by a process that knows the digest so far, by one that must make the object to learn it, and by both again.
    for (const process of [registry, replica, registry, replica]) {
      const wrong = await process.fetchOci(url + layer(1).digest, { method: 'PUT', body });
      expect(wrong.status).toBe(400);
    }
    const right = await replica.fetchOci(url + blob.digest, { method: 'PUT', body });
    expect([right.status, await right.text()]).toEqual([201, '']);
    expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
  });

  it('may come in one request', async () => {
    const blob = layer(7 * MEBIBYTE, 'one request');
    const response = await registry.fetchOci(`/v2/${repository}/blobs/uploads/?digest=${blob.digest}`, {
      method: 'POST',
      body: new Uint8Array(blob.bytes),
    });
    expect(response.status).toBe(201);
    expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
  });
});

/** Sends half of what it announces and hangs up. */
async function breakOff(registry: TestRegistry, path: string, bytes: Buffer): Promise<void> {
  const sending = request(new URL(path, registry.url), {
    method: 'PATCH',
    headers: { authorization: `Basic ${registry.token}`, 'content-length': bytes.length },
  });
  sending.on('error', () => undefined);
  await new Promise<void>((resolve) => sending.write(bytes.subarray(0, bytes.length / 2), () => resolve()));
  await new Promise((resolve) => sending.once('close', resolve).destroy());
}
