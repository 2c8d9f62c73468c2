import { Controller, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { type Digest } from '../../domain/digest.js';
import { isPlainText } from '../../domain/plain-text.js';
import { RegistryError } from '../../domain/registry-error.js';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import { nextPageLink } from '../../protocols/oci/links.js';
import { DigestParam, RepositoryNameParam } from '../../protocols/oci/oci-params.decorator.js';
import { OciRoute } from '../../protocols/oci/oci-route.decorator.js';
import { DEFAULT_PAGE_SIZE, pageQuery } from '../../protocols/oci/page-query.js';
import { ImagesService } from './images.service.js';
import { OCI_INDEX } from './media-types.js';

/** Listings of the distribution API inside a repository: tags and referrers. */
@Controller('v2')
export class TagsOciController {
  constructor(private readonly images: ImagesService) {}

  @OciRoute('GET', ':name/tags/list', { action: 'ecr:ListImages' })
  async listTags(
    @RepositoryNameParam() name: string,
    @Query() query: unknown,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { n, last } = pageQuery(query);
    const page = await this.images.listTags(addressedRegistry(caller), name, {
      limit: n,
      ...(last !== undefined && { after: last }),
    });
    if (n > 0 && page.next !== undefined)
      void reply.header('link', nextPageLink(`/v2/${name}/tags/list`, { n, last: page.next }));
    await reply.send({ name, tags: n === 0 ? [] : page.items });
  }

  @OciRoute('GET', ':name/referrers/:digest', { action: 'ecr:BatchGetImage' })
  async listReferrers(
    @RepositoryNameParam() name: string,
    @DigestParam() digest: Digest,
    @Query() query: { artifactType?: string | string[]; n?: string; last?: string },
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const artifactTypes = [query.artifactType ?? []].flat();
    if (!artifactTypes.every(isPlainText))
      throw RegistryError.invalidParameter('artifactType', 'must be plain text');
    const { n, last } = pageQuery(query);
    const limit = n === 0 ? DEFAULT_PAGE_SIZE : n;
    const after = last !== undefined && /^[0-9]{1,18}$/.test(last) ? last : undefined;
    const page = await this.images.listReferrers(
      addressedRegistry(caller),
      name,
      String(digest),
      artifactTypes,
      {
        limit,
        ...(after !== undefined && { after }),
      },
    );
    if (artifactTypes.length > 0) void reply.header('oci-filters-applied', 'artifactType');
    if (page.next !== undefined) {
      void reply.header(
        'link',
        nextPageLink(`/v2/${name}/referrers/${String(digest)}`, {
          artifactType: artifactTypes,
          n: limit,
          last: page.next,
        }),
      );
    }
    const manifests = page.items.map(({ mediaType, digest: referrer, size, artifactType, annotations }) => ({
      mediaType,
      digest: referrer,
      size,
      ...(artifactType !== null && { artifactType }),
      ...(annotations !== null && { annotations }),
    }));
    await reply
      .header('content-type', OCI_INDEX)
      .send(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })));
  }
}
