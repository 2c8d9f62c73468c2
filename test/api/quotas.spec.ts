import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  DeleteRepositoryCommand,
  DescribeRepositoriesCommand,
  LimitExceededException,
} from '@aws-sdk/client-ecr';
import { QUOTAS } from '../../src/registry/quotas/quotas.js';
import { imageManifest, layer } from '../support/images.js';
import { beginUpload, createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { type Place, QUOTA_NAMES, QUOTA_PROBES } from '../support/quota-probes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

describe('A quota of the configuration', () => {
  let registry: TestRegistry;
  let place: Place;
  beforeAll(async () => {
    const settings = QUOTA_NAMES.map((name) => [QUOTAS[name].setting, String(QUOTA_PROBES[name].limit)]);
    registry = await startRegistry({ store: 'filesystem', config: Object.fromEntries(settings) });
  });
  afterAll(() => registry?.close());
  beforeEach(async () => (place = { registry, repository: await createRepository(registry.ecr) }));
  afterEach(async () => {
    await expectExactCounters(registry.prisma);
    const { repositories } = await registry.ecr.send(new DescribeRepositoriesCommand({}));
    for (const { repositoryName } of repositories!)
      await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName, force: true }));
    await expectExactCounters(registry.prisma);
  });

  const errorOf = async (response: Response): Promise<unknown> => [response.status, await response.json()];
  const denied = (message: string): unknown => [
    403,
    { errors: [expect.objectContaining({ code: 'DENIED', message })] },
  ];

  it.each(QUOTA_NAMES)('%s can be used to the full and not beyond, at either door', async (name) => {
    const probe = QUOTA_PROBES[name];
    await probe.useUp(place);
    const error = await refusal(probe.exceed(place), LimitExceededException);
    expect(error.message).toBe(probe.refusal(place, probe.limit));
    if (probe.exceedAtOci)
      expect(await errorOf(await probe.exceedAtOci(place))).toEqual(
        denied(probe.refusal(place, probe.limit)),
      );
  });

  it('gives room again for a repository when one is deleted', async () => {
    const second = await createRepository(registry.ecr);
    await refusal(createRepository(registry.ecr), LimitExceededException);
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: second }));
    await createRepository(registry.ecr);
  });

  it('leaves nothing of an image behind that is one too many, and gives room when one is deleted', async () => {
    const { registry: _, repository } = place;
    const first = await pushImage(registry.ecr, repository, 'first', ['first']);
    const [second, third] = ['2', '3'].map((note) =>
      imageManifest(first.config, first.layers, { annotations: { note } }),
    );
    await putImage(registry.ecr, repository, second!, 'second');
    await refusal(putImage(registry.ecr, repository, third!, 'first'), LimitExceededException);
    // The tag the refused image would have taken is where it was.
    const tag = await registry.fetchOci(`/v2/${repository}/manifests/first`, { method: 'HEAD' });
    expect(tag.headers.get('docker-content-digest')).toBe(first.manifest.digest);
    await putImage(registry.ecr, repository, second!, 'third');
    await registry.ecr.send(
      new BatchDeleteImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'first' }] }),
    );
    await putImage(registry.ecr, repository, third!, 'first');
  });

  it('counts a tag that moves to a full image, and not one that is there', async () => {
    const { repository } = place;
    const full = await pushImage(registry.ecr, repository, 'full', ['a', 'b']);
    const other = imageManifest(full.config, []);
    await putImage(registry.ecr, repository, other, 'c');
    await refusal(putImage(registry.ecr, repository, full.manifest, 'c'), LimitExceededException);
    const put = (reference: string): Promise<Response> =>
      registry.fetchOci(`/v2/${repository}/manifests/${reference}`, {
        method: 'PUT',
        headers: { 'content-type': full.manifest.mediaType },
        body: full.manifest.text,
      });
    expect((await put('b')).status).toBe(201);
    expect((await put(`${full.manifest.digest}?tag=d&tag=e`)).status).toBe(403);
    await putImage(registry.ecr, repository, other, 'a');
    await putImage(registry.ecr, repository, full.manifest, 'c');
  });

  it('does not count the config of an image among its layers', async () => {
    const { repository } = place;
    const { config } = await pushImage(registry.ecr, repository, 'config');
    const layers = ['1', '2'].map((seed) => layer(10, seed));
    for (const blob of layers) await pushLayer(registry.ecr, repository, blob);
    await putImage(registry.ecr, repository, imageManifest(config, layers));
    const twice = imageManifest(config, [...layers, layers[0]!]);
    await refusal(putImage(registry.ecr, repository, twice), LimitExceededException);
  });

  it('leaves an upload where it was when a part of it would make the layer too large', async () => {
    const blob = layer(2_500, 'goes on');
    const upload = await beginUpload(registry.ecr, place.repository);
    await upload.part(blob.bytes.subarray(0, 2_000), 0);
    const tooMuch = registry.fetchOci(`/v2/${place.repository}/blobs/uploads/${upload.id}`, {
      method: 'PATCH',
      body: new Uint8Array(2_001),
    });
    expect((await tooMuch).status).toBe(403);
    const rest = await registry.fetchOci(
      `/v2/${place.repository}/blobs/uploads/${upload.id}?digest=${blob.digest}`,
      { method: 'PUT', body: new Uint8Array(blob.bytes.subarray(2_000)) },
    );
    expect(rest.status).toBe(201);
  });

  it('for parts does not hold at the OCI door, which has none', async () => {
    const blob = layer(3_000, 'pieces');
    const start = await registry.fetchOci(`/v2/${place.repository}/blobs/uploads/`, { method: 'POST' });
    const location = start.headers.get('location')!;
    for (let at = 0; at < 3_000; at += 500) {
      const body = new Uint8Array(blob.bytes.subarray(at, at + 500));
      expect((await registry.fetchOci(location, { method: 'PATCH', body })).status).toBe(202);
    }
    const end = await registry.fetchOci(`${location}?digest=${blob.digest}`, { method: 'PUT' });
    expect(end.status).toBe(201);
  });

  it('gives room for an upload when one is completed or cancelled', async () => {
    const [first, second] = [
      await beginUpload(registry.ecr, place.repository),
      await beginUpload(registry.ecr, place.repository),
    ];
    await refusal(beginUpload(registry.ecr, place.repository), LimitExceededException);
    const blob = layer(10, 'completed');
    await first.part(blob.bytes, 0);
    await first.complete(blob.digest);
    await beginUpload(registry.ecr, place.repository);
    await refusal(beginUpload(registry.ecr, place.repository), LimitExceededException);
    await registry.fetchOci(`/v2/${place.repository}/blobs/uploads/${second.id}`, { method: 'DELETE' });
    await beginUpload(registry.ecr, place.repository);
  });

  it('for bytes refuses a completion, which can be repeated once there is room', async () => {
    const [large, blocked] = [layer(4_000, 'large'), layer(1_500, 'blocked')];
    await pushAtOnce(large.bytes, large.digest);
    const upload = await beginUpload(registry.ecr, place.repository);
    await upload.part(blocked.bytes, 0);
    for (const _ of [1, 2]) await refusal(upload.complete(blocked.digest), LimitExceededException);
    await registry.fetchOci(`/v2/${place.repository}/blobs/${large.digest}`, { method: 'DELETE' });
    await upload.complete(blocked.digest);
    const pulled = await registry.fetchOci(`/v2/${place.repository}/blobs/${blocked.digest}`);
    expect(Buffer.from(await pulled.arrayBuffer())).toEqual(blocked.bytes);
  });

  it('for bytes counts a layer once in a repository, and once for every repository that sees it', async () => {
    const blob = layer(4_000, 'shared');
    await pushAtOnce(blob.bytes, blob.digest);
    expect((await pushAtOnce(blob.bytes, blob.digest)).status).toBe(201);
    const other = await createRepository(registry.ecr);
    const mount = (): Promise<Response> =>
      registry.fetchOci(`/v2/${other}/blobs/uploads/?mount=${blob.digest}&from=${place.repository}`, {
        method: 'POST',
      });
    // 8,000 bytes are more than the registry may store.
    expect(await errorOf(await mount())).toEqual(
      denied("The layer does not fit into the repository or registry, which may store '7000' bytes"),
    );
    const small = layer(3_000, 'small');
    await pushAtOnce(small.bytes, small.digest, other);
    expect((await pushAtOnce(layer(1).bytes, layer(1).digest)).status).toBe(403);
  });

  const pushAtOnce = (bytes: Buffer, digest: string, repository = place.repository): Promise<Response> =>
    registry.fetchOci(`/v2/${repository}/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: new Uint8Array(bytes),
    });
});
