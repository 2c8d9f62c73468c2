import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand, DescribeImagesCommand, ListImagesCommand } from '@aws-sdk/client-ecr';
import { createRepository, pushImage, type PushedImage, putImage } from '../support/pushes.js';
import { refusalNamed } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

describe('The tags of a repository at the OCI door', () => {
  let registry: TestRegistry;
  let repository: string;
  let image: PushedImage;
  /** In byte order. */
  const TAGS = ['1', '10', '2', 'B', '_', 'a', 'a-', 'a.', 'a0', 'b'];
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    repository = await createRepository(registry.ecr);
    image = await pushImage(registry.ecr, repository, 'tags', TAGS.toReversed());
    await pushImage(registry.ecr, repository, 'untagged');
  });
  afterAll(() => registry?.close());

  const list = async (query = '', name = repository): Promise<{ tags: string[]; link: string | null }> => {
    const response = await registry.fetchOci(`/v2/${name}/tags/list${query}`);
    expect(response.status).toBe(200);
    const body = (await response.json()) as { name: string; tags: string[] };
    expect(body.name).toBe(name);
    return { tags: body.tags, link: response.headers.get('link') };
  };

  it('are listed in byte order, each once', async () => {
    expect(await list()).toEqual({ tags: TAGS, link: null });
  });

  it.each([1, 3, 5, 9, 10, 11])('are the same in pages of %i, along the links', async (n) => {
    const found: string[] = [];
    for (let query: string | undefined = `?n=${n}`; query !== undefined;) {
      const page: { tags: string[]; link: string | null } = await list(query);
      expect(page.tags.length).toBeLessThanOrEqual(n);
      found.push(...page.tags);
      query = page.link === null ? undefined : /^<[^?>]*(\?[^>]+)>; rel="next"$/.exec(page.link)![1];
    }
    expect(found).toEqual(TAGS);
  });

  it('go on behind a tag that is there no more, or never was', async () => {
    expect((await list('?last=a')).tags).toEqual(['a-', 'a.', 'a0', 'b']);
    expect((await list('?n=2&last=aa')).tags).toEqual(['b']);
    expect((await list('?last=zzz')).tags).toEqual([]);
    expect(await list('?n=0')).toEqual({ tags: [], link: null });
  });

  it('are none in a repository without any', async () => {
    expect(await list('', await createRepository(registry.ecr))).toEqual({ tags: [], link: null });
  });

  it.each(['?n=-1', '?n=x', '?n=1&n=2', '?n=1.5', '?last=%00', '?last=a&last=b'])(
    'are not listed for %s, which is no page',
    async (query) => {
      const response = await registry.fetchOci(`/v2/${repository}/tags/list${query}`);
      expect([response.status, await response.json()]).toEqual([
        400,
        { errors: [expect.objectContaining({ code: 'UNSUPPORTED' })] },
      ]);
    },
  );

  it('are not listed for a repository that does not exist', async () => {
    expect((await registry.fetchOci('/v2/no/such/tags/list')).status).toBe(404);
  });

  it('are listed page by page although some come and go meanwhile', async () => {
    const name = await createRepository(registry.ecr);
    const { manifest } = await pushImage(registry.ecr, name, 'moving', ['b', 'd', 'f', 'h']);
    const first = await list('?n=2', name);
    expect(first.tags).toEqual(['b', 'd']);
    await registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: name,
        imageIds: [{ imageTag: 'd' }, { imageTag: 'f' }],
      }),
    );
    for (const tag of ['a', 'g']) await putImage(registry.ecr, name, manifest, tag);
    expect((await list('?n=2&last=d', name)).tags).toEqual(['g', 'h']);
  });

  it('are listed by ListImages from page to page although images come and go meanwhile', async () => {
    const name = await createRepository(registry.ecr);
    for (const seed of ['1', '2', '3']) await pushImage(registry.ecr, name, seed, [`v${seed}`]);
    const ask = (nextToken?: string) =>
      registry.ecr.send(new ListImagesCommand({ repositoryName: name, maxResults: 1, nextToken }));
    const first = await ask();
    await registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: name,
        imageIds: [{ imageTag: 'v1' }, { imageTag: 'v2' }],
      }),
    );
    const second = await ask(first.nextToken);
    expect([...first.imageIds!, ...second.imageIds!].map(({ imageTag }) => imageTag)).toEqual(['v1', 'v3']);
    expect(second.nextToken).toBeUndefined();
  });

  it('belong to pages whose tokens cannot be changed in any place', async () => {
    const ask = (nextToken: string) =>
      registry.ecr.send(new ListImagesCommand({ repositoryName: repository, nextToken, maxResults: 1 }));
    const page = await registry.ecr.send(
      new ListImagesCommand({ repositoryName: repository, maxResults: 1 }),
    );
    const token = page.nextToken!;
    for (let at = 0; at < token.length; at += 5) {
      const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      await refusalNamed(ask(changed), 'InvalidParameterException');
    }
    for (const text of ['', '0', 'null', token.slice(1), `${token}=`, 'a'.repeat(5_000)])
      await refusalNamed(ask(text), 'InvalidParameterException');
    expect((await ask(token)).imageIds).toHaveLength(1);
  });

  it('and what GET pulls has the time of the pull recorded; what HEAD asks for has not', async () => {
    const lastPull = async (): Promise<Date | undefined> => {
      const command = new DescribeImagesCommand({
        repositoryName: repository,
        imageIds: [{ imageDigest: image.manifest.digest }],
      });
      return (await registry.ecr.send(command)).imageDetails![0]!.lastRecordedPullTime;
    };
    await registry.fetchOci(`/v2/${repository}/manifests/a`, { method: 'HEAD' });
    expect(await lastPull()).toBeUndefined();
    await registry.fetchOci(`/v2/${repository}/manifests/a`);
    const recorded = await lastPull();
    expect(recorded).toBeInstanceOf(Date);
    await registry.fetchOci(`/v2/${repository}/manifests/b`);
    expect(await lastPull()).toEqual(recorded);
    await registry.prisma.$executeRaw`UPDATE image SET last_pulled_at = now() - interval '2 hours'`;
    await registry.fetchOci(`/v2/${repository}/manifests/b`);
    expect((await lastPull())!.getTime()).toBeGreaterThanOrEqual(recorded!.getTime());
  });
});
