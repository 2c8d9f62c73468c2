import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { InvalidLayerPartException, RepositoryAlreadyExistsException } from '@aws-sdk/client-ecr';
import { between, type CountingMinio, type S3Counters, startCountingMinio } from '../budget/minio.js';
import { beginOciUpload, ociFinish, ociOffset, ociPatch, streamPatch } from '../restart/crash.js';
import { type Blob, imageConfig, imageManifest, layer } from '../support/images.js';
import { describeWhere } from '../support/programs.js';
import { beginUpload, createRepository, MEBIBYTE, pushLayer, uploadOf } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import type { RegistryProcess } from '../support/registry-process.js';
import { pull, UPLOAD_DOORS } from '../support/upload-doors.js';
import { type Deployment, startDeployment } from './deployment.js';
import { openRecords, type Records } from './records.js';

const REPLICAS = 4;
/** A dead replica holds its uploads for 15 seconds. */
const PATIENCE_MS = 60_000;

describeWhere(
  Boolean(process.env['STOWAGE_TEST_MINIO']),
  `At ${REPLICAS} replicas on one database and one bucket`,
  'a MinIO of its own',
  () => {
    let minio: CountingMinio;
    let deployment: Deployment;
    let records: Records;
    let repository: string;
    let turn = 0;
    const stored: Blob[] = [];

    /** Another replica with every call. */
    const next = (): RegistryProcess => deployment.replicas[(turn += 1) % REPLICAS]!;
    const everywhere = <Result>(work: (replica: RegistryProcess) => Promise<Result>): Promise<Result[]> =>
      Promise.all(deployment.replicas.map(work));
    const expectEverywhere = async (blob: Blob): Promise<void> => {
      for (const replica of deployment.replicas)
        expect((await pull(replica, repository, blob)).equals(blob.bytes)).toBe(true);
    };
    let before: S3Counters;
    /** GetObject requests since the last time. */
    const reads = async (): Promise<number> => {
      const after = await minio.counters();
      const { requests } = between(before, after);
      before = after;
      return requests['getobject'] ?? 0;
    };

    beforeAll(async () => {
      minio = await startCountingMinio();
      deployment = await startDeployment(REPLICAS, { ...minio.settings, STOWAGE_ROLE: 'api' });
      records = openRecords(deployment.environment);
      repository = await createRepository(next().ecr);
      before = await minio.counters();
    }, 120_000);

    afterAll(async () => {
      await records?.close();
      await deployment?.close();
      await minio?.stop();
    });

    it(
      'bytes sent to one and completed at another are not read back: their digest is in the row',
      async () => {
        const streamed = layer(18 * MEBIBYTE + 3, 'streamed');
        const small = layer(70_000, 'small');
        for (const blob of [streamed, small]) {
          const path = await beginOciUpload(next(), repository);
          const patch = streamPatch(next(), path);
          for (let first = 0; first < blob.size; first += MEBIBYTE)
            await patch.write(blob.bytes.subarray(first, first + MEBIBYTE));
          patch.end();
          expect(await patch.outcome).toBe(202);
          expect(await ociOffset(next(), path)).toBe(blob.size);
          expect(await ociFinish(next(), path, blob.digest)).toBe(blob.digest);
        }
        const part = layer(6 * MEBIBYTE, 'single part');
        const { id } = await beginUpload(next().ecr, repository);
        await uploadOf(next().ecr, repository, id).part(part.bytes, 0);
        await uploadOf(next().ecr, repository, id).complete(part.digest);
        stored.push(streamed, small, part);
        expect(await reads()).toBe(0);
      },
      PATIENCE_MS,
    );

    it(
      'a session goes on wherever its next part arrives, at either door, and is read back once at its end',
      async () => {
        const doors = Object.entries(UPLOAD_DOORS);
        for (const [name, makeDoor] of doors) {
          const door = makeDoor();
          const blob = layer(16 * MEBIBYTE + 1, `spread ${name}`);
          const upload = await door.begin(next(), repository);
          for (let first = 0; first < blob.size; first += 5 * MEBIBYTE) {
            const bytes = blob.bytes.subarray(first, first + 5 * MEBIBYTE);
            await door.append(next(), repository, upload, bytes, first);
          }
          await door.complete(next(), repository, upload, blob.digest);
          stored.push(blob);
        }
        // The running hash does not travel. A client that keeps its connection stays with one replica and has no such read.
        expect(await reads()).toBe(doors.length);
      },
      PATIENCE_MS,
    );

    it('every replica serves what came in over the others', async () => {
      for (const blob of stored) await expectEverywhere(blob);
      await expectExactCounters(records.prisma);
    });

    it('a wrong digest is refused by a replica that saw none of the bytes', async () => {
      const blob = layer(11 * MEBIBYTE, 'wrong digest');
      const { id } = await beginUpload(next().ecr, repository);
      await uploadOf(next().ecr, repository, id).part(blob.bytes.subarray(0, 10 * MEBIBYTE), 0);
      await uploadOf(next().ecr, repository, id).part(blob.bytes.subarray(10 * MEBIBYTE), 10 * MEBIBYTE);
      const wrong = layer(1, 'another').digest;
      await expect(uploadOf(next().ecr, repository, id).complete(wrong)).rejects.toThrow(
        'None of the provided layer digests match',
      );
      await uploadOf(next().ecr, repository, id).complete(blob.digest);
      await expectEverywhere(blob);
    });

    it('the same part sent to all at once is recorded once, and so is the same completion', async () => {
      const blob = layer(12 * MEBIBYTE, 'at once');
      const half = 6 * MEBIBYTE;
      const { id } = await beginUpload(next().ecr, repository);
      for (const first of [0, half]) {
        const answers = await everywhere((replica) =>
          uploadOf(replica.ecr, repository, id).part(blob.bytes.subarray(first, first + half), first),
        );
        expect(answers.map(({ lastByteReceived }) => lastByteReceived)).toEqual(
          Array(REPLICAS).fill(first + half - 1),
        );
      }
      expect(await records.partsOf(id)).toBe(2);
      const completed = await everywhere((replica) =>
        uploadOf(replica.ecr, repository, id).complete(blob.digest),
      );
      expect(completed.map(({ layerDigest }) => layerDigest)).toEqual(Array(REPLICAS).fill(blob.digest));
      expect(await records.objectsOf(blob.digest)).toBe(1);
      await expectExactCounters(records.prisma);
      await expectEverywhere(blob);
    });

    it('of different parts for the same bytes exactly one is taken', async () => {
      const rivals = deployment.replicas.map((_, n) => layer(6 * MEBIBYTE, `rival ${n}`));
      const { id } = await beginUpload(next().ecr, repository);
      const outcomes = await Promise.allSettled(
        deployment.replicas.map((replica, n) =>
          uploadOf(replica.ecr, repository, id).part(rivals[n]!.bytes, 0),
        ),
      );
      const taken = outcomes.findIndex(({ status }) => status === 'fulfilled');
      for (const [n, outcome] of outcomes.entries()) {
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(InvalidLayerPartException);
        else expect(n).toBe(taken);
      }
      await uploadOf(next().ecr, repository, id).complete(rivals[taken]!.digest);
      await expectEverywhere(rivals[taken]!);
    });

    it('of the same chunk sent to all at once at the OCI door exactly one is taken', async () => {
      const blob = layer(7 * MEBIBYTE, 'chunk at once');
      const path = await beginOciUpload(next(), repository);
      const statuses = await everywhere((replica) => ociPatch(replica, path, blob.bytes, 0));
      expect(statuses.sort((a, b) => a - b)).toEqual([202, 416, 416, 416]);
      expect(await ociOffset(next(), path)).toBe(blob.size);
      const digests = await everywhere((replica) => ociFinish(replica, path, blob.digest));
      expect(digests).toEqual(Array(REPLICAS).fill(blob.digest));
      expect(await records.objectsOf(blob.digest)).toBe(1);
    });

    it('one repository of one new registry is created once, and one image put once', async () => {
      const created = await Promise.allSettled(
        deployment.replicas.map((replica) =>
          createRepository(replica.ecrWith({ region: 'eu-west-3' }), {
            repositoryName: 'first/of-its-region',
          }),
        ),
      );
      expect(created.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of created)
        if (outcome.status === 'rejected')
          expect(outcome.reason).toBeInstanceOf(RepositoryAlreadyExistsException);

      const config = imageConfig('at once');
      await pushLayer(next().ecr, repository, config);
      const manifest = imageManifest(config, []);
      const put = await everywhere((replica) =>
        replica.fetchOci(`/v2/${repository}/manifests/latest`, {
          method: 'PUT',
          headers: { 'content-type': manifest.mediaType },
          body: manifest.text,
        }),
      );
      expect(put.map(({ status }) => status)).toEqual(Array(REPLICAS).fill(201));
      await expectExactCounters(records.prisma);
    });

    it(
      'an upload whose replica is killed goes on at another from the acknowledged byte',
      async () => {
        const [doomed, ...others] = deployment.replicas as [RegistryProcess, ...RegistryProcess[]];
        const inTheMiddle = layer(20 * MEBIBYTE, 'killed in the middle');
        const betweenParts = layer(11 * MEBIBYTE, 'killed between parts');
        const inTheTail = layer(9 * MEBIBYTE, 'killed with a tail');
        const acknowledged = 6 * MEBIBYTE;

        const middlePath = await beginOciUpload(doomed, repository);
        expect(await ociPatch(doomed, middlePath, inTheMiddle.bytes.subarray(0, acknowledged), 0)).toBe(202);
        const { id } = await beginUpload(doomed.ecr, repository);
        await uploadOf(doomed.ecr, repository, id).part(betweenParts.bytes.subarray(0, 10 * MEBIBYTE), 0);
        const tailPath = await beginOciUpload(doomed, repository);
        // Less than a part of S3 takes: it is kept in the database until there is more.
        expect(await ociPatch(doomed, tailPath, inTheTail.bytes.subarray(0, 1_000_000), 0)).toBe(202);
        const patch = streamPatch(doomed, middlePath);
        await patch.write(inTheMiddle.bytes.subarray(acknowledged, 18 * MEBIBYTE));

        await doomed.kill('SIGKILL');
        expect(await patch.outcome).toMatch(/ECONNRESET|EPIPE/);

        await uploadOf(others[0]!.ecr, repository, id).part(
          betweenParts.bytes.subarray(10 * MEBIBYTE),
          10 * MEBIBYTE,
        );
        await uploadOf(others[1]!.ecr, repository, id).complete(betweenParts.digest);

        expect(await ociOffset(others[1]!, tailPath)).toBe(1_000_000);
        const rest = inTheTail.bytes.subarray(1_000_000);
        expect(await ociPatch(others[2]!, tailPath, rest, 1_000_000)).toBe(202);
        expect(await ociFinish(others[0]!, tailPath, inTheTail.digest)).toBe(inTheTail.digest);

        const offset = await ociOffset(others[2]!, middlePath);
        expect(offset).toBe(acknowledged);
        // Taken as soon as the dead request's lease is over; the client just sends.
        expect(await ociPatch(others[0]!, middlePath, inTheMiddle.bytes.subarray(offset), offset)).toBe(202);
        expect(await ociFinish(others[1]!, middlePath, inTheMiddle.digest)).toBe(inTheMiddle.digest);

        await doomed.restart();
        for (const blob of [inTheMiddle, betweenParts, inTheTail]) await expectEverywhere(blob);
        await expectExactCounters(records.prisma);
      },
      PATIENCE_MS,
    );
  },
  'REQUIRE_S3',
);
