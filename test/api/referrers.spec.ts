import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  DescribeImagesCommand,
  ListImageReferrersCommand,
} from '@aws-sdk/client-ecr';
import {
  imageIndex,
  imageManifest,
  layer,
  type Manifest,
  manifestOf,
  MEDIA_TYPES,
} from '../support/images.js';
import { createRepository, pushImage, type PushedImage, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const SBOM = 'application/vnd.example.sbom.v1+json';
const SIGNATURE = 'application/vnd.example.signature';

interface Index {
  schemaVersion: number;
  mediaType: string;
  manifests: { digest: string; mediaType: string; size: number; artifactType?: string }[];
}

describe('The referrers of an image', () => {
  let registry: TestRegistry;
  let repository: string;
  let image: PushedImage;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());
  beforeEach(async () => {
    repository = await createRepository(registry.ecr);
    image = await pushImage(registry.ecr, repository, 'subject', ['subject']);
  });

  const push = async (manifest: Manifest): Promise<Response> => {
    const response = await registry.fetchOci(`/v2/${repository}/manifests/${manifest.digest}`, {
      method: 'PUT',
      headers: { 'content-type': manifest.mediaType },
      body: manifest.text,
    });
    expect(response.status).toBe(201);
    return response;
  };
  const artifact = (artifactType: string | undefined, note: string, subject = image.manifest): Manifest =>
    imageManifest(image.config, image.layers, {
      ...(artifactType !== undefined && { artifactType }),
      subject,
      annotations: { note },
    });
  const referrers = (query = '', digest = image.manifest.digest): Promise<Response> =>
    registry.fetchOci(`/v2/${repository}/referrers/${digest}${query}`);
  const digests = async (query = '', digest = image.manifest.digest): Promise<string[]> =>
    ((await (await referrers(query, digest)).json()) as Index).manifests.map((referrer) => referrer.digest);

  it('are an index of everything whose subject it is, with types and annotations', async () => {
    const sbom = artifact(SBOM, 'sbom');
    const plain = artifact(undefined, 'plain');
    const index = imageIndex([image.manifest], {
      artifactType: SIGNATURE,
      subject: image.manifest,
      annotations: { note: 'index' },
    });
    const bare = imageIndex([], { subject: image.manifest });
    for (const manifest of [sbom, plain, index, bare]) await push(manifest);
    const response = await referrers();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, MEDIA_TYPES.ociIndex]);
    expect(response.headers.get('oci-filters-applied')).toBeNull();
    expect(await response.json()).toEqual({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [
        described(sbom, { artifactType: SBOM, annotations: { note: 'sbom' } }),
        described(plain, { artifactType: MEDIA_TYPES.ociConfig, annotations: { note: 'plain' } }),
        described(index, { artifactType: SIGNATURE, annotations: { note: 'index' } }),
        described(bare),
      ],
    });
  });

  it('are acknowledged with OCI-Subject when they are pushed; other images are not', async () => {
    const pushed = await push(artifact(SBOM, 'acknowledged'));
    expect(pushed.headers.get('oci-subject')).toBe(image.manifest.digest);
    const other = imageManifest(image.config, image.layers, { annotations: { note: 'none' } });
    expect((await push(other)).headers.get('oci-subject')).toBeNull();
  });

  it('are filtered by type, and the answer says so', async () => {
    const [sbom, signature] = [artifact(SBOM, '1'), artifact(SIGNATURE, '2')];
    for (const manifest of [sbom, signature]) await push(manifest);
    const response = await referrers(`?artifactType=${encodeURIComponent(SBOM)}`);
    expect(response.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(((await response.json()) as Index).manifests.map(({ digest }) => digest)).toEqual([sbom.digest]);
    expect(await digests('?artifactType=unknown')).toEqual([]);
    expect((await referrers('?artifactType=%00')).status).toBe(400);
  });

  it('are listed in pages along the links, with their filter', async () => {
    const all = Array.from({ length: 7 }, (_, index) =>
      artifact(index % 2 === 0 ? SBOM : SIGNATURE, `${index}`),
    );
    for (const manifest of all) await push(manifest);
    const walk = async (first: string): Promise<string[]> => {
      const found: string[] = [];
      for (
        let path: string | undefined = `/v2/${repository}/referrers/${image.manifest.digest}${first}`;
        path;
      ) {
        const page: Response = await registry.fetchOci(path);
        const { manifests } = (await page.json()) as Index;
        expect(manifests.length).toBeLessThanOrEqual(2);
        found.push(...manifests.map(({ digest }) => digest));
        path = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1];
      }
      return found;
    };
    expect(await walk('?n=2')).toEqual(all.map(({ digest }) => digest));
    const sboms = all.filter((_, index) => index % 2 === 0).map(({ digest }) => digest);
    expect(await walk(`?n=2&artifactType=${encodeURIComponent(SBOM)}`)).toEqual(sboms);
    const both = [SBOM, SIGNATURE].map((type) => `artifactType=${encodeURIComponent(type)}`).join('&');
    expect(await walk(`?n=2&${both}`)).toEqual(all.map(({ digest }) => digest));
  });

  it('are none for what nobody pushed, and refused for what is no digest', async () => {
    expect(await digests('', layer(1, 'nobody').digest)).toEqual([]);
    expect((await referrers('', 'sha256:short')).status).toBe(400);
    expect((await referrers('', 'subject')).status).toBe(400);
    expect((await registry.fetchOci(`/v2/no/such/referrers/${layer(1).digest}`)).status).toBe(404);
  });

  it('may come before their subject and stay after it', async () => {
    const later = imageManifest(image.config, [], { annotations: { note: 'later' } });
    const early = artifact(SBOM, 'early', later);
    const pushed = await push(early);
    expect(pushed.headers.get('oci-subject')).toBe(later.digest);
    expect(await digests('', later.digest)).toEqual([early.digest]);
    await push(later);
    await registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: repository,
        imageIds: [{ imageDigest: later.digest }],
      }),
    );
    expect(await digests('', later.digest)).toEqual([early.digest]);
  });

  it('do not hold their subject, and go from the list when they are deleted', async () => {
    const sbom = artifact(SBOM, 'deleted');
    await push(sbom);
    const remove = (reference: string): Promise<Response> =>
      registry.fetchOci(`/v2/${repository}/manifests/${reference}`, { method: 'DELETE' });
    expect((await remove(sbom.digest)).status).toBe(202);
    expect(await digests()).toEqual([]);
    await push(sbom);
    expect((await remove(image.manifest.digest)).status).toBe(202);
  });

  it('of other repositories are not among them', async () => {
    const other = await createRepository(registry.ecr);
    const elsewhere = await pushImage(registry.ecr, other, 'subject');
    await putImage(
      registry.ecr,
      other,
      imageManifest(elsewhere.config, elsewhere.layers, { artifactType: SBOM, subject: image.manifest }),
    );
    expect(await digests()).toEqual([]);
  });

  it('are the same at both doors, and known as images', async () => {
    const sbom = artifact(SBOM, 'both doors');
    await putImage(registry.ecr, repository, sbom, 'sbom');
    const [described] = (
      await registry.ecr.send(
        new DescribeImagesCommand({ repositoryName: repository, imageIds: [{ imageTag: 'sbom' }] }),
      )
    ).imageDetails!;
    expect(described).toMatchObject({
      artifactMediaType: SBOM,
      subjectManifestDigest: image.manifest.digest,
    });
    const { referrers: listed } = await registry.ecr.send(
      new ListImageReferrersCommand({
        repositoryName: repository,
        subjectId: { imageDigest: image.manifest.digest },
      }),
    );
    expect(listed!.map(({ digest }) => digest)).toEqual(await digests());
  });

  it('keep annotations of any characters and names', async () => {
    const annotations = { 'größe 😀': '"\\\n', __proto__x: '', constructor: 'c', '': 'empty key' };
    const text = JSON.stringify({
      ...(JSON.parse(artifact(SBOM, '').text) as object),
      annotations,
    }).replace('__proto__x', '__proto__');
    const manifest = manifestOf(MEDIA_TYPES.ociManifest, null);
    const bytes = Buffer.from(text);
    const pushed = await registry.fetchOci(`/v2/${repository}/manifests/odd`, {
      method: 'PUT',
      headers: { 'content-type': manifest.mediaType },
      body: new Uint8Array(bytes),
    });
    expect(pushed.status).toBe(201);
    const found = await (await referrers()).text();
    const { manifests } = JSON.parse(found) as { manifests: { annotations: Record<string, string> }[] };
    const { __proto__x: _, ...others } = annotations;
    expect(manifests[0]!.annotations).toMatchObject(others);
  });
});

function described({ mediaType, digest, size }: Manifest, more: object = {}): object {
  return { mediaType, digest, size, ...more };
}
