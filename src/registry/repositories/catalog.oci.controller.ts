import { Controller, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import { nextPageLink } from '../../protocols/oci/links.js';
import { OciRoute } from '../../protocols/oci/oci-route.decorator.js';
import { pageQuery } from '../../protocols/oci/page-query.js';
import { RepositoriesService } from './repositories.service.js';

/** `/v2/` itself and the catalog. */
@Controller('v2')
export class CatalogOciController {
  constructor(private readonly repositories: RepositoriesService) {}

  /** Tells a client that its login works; like `docker login`, it needs what GetAuthorizationToken needs. */
  @OciRoute('GET', '', { action: 'ecr:GetAuthorizationToken' })
  ping(): Record<string, never> {
    return {};
  }

  @OciRoute('GET', '_catalog', { action: 'ecr:DescribeRepositories' })
  async listRepositories(
    @Query() query: unknown,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { n, last } = pageQuery(query);
    if (n === 0) {
      await reply.send({ repositories: [] });
      return;
    }
    const page = await this.repositories.list(
      addressedRegistry(caller),
      last === undefined ? { limit: n } : { limit: n, after: last },
    );
    if (page.next !== undefined)
      void reply.header('link', nextPageLink('/v2/_catalog', { n, last: page.next }));
    await reply.send({ repositories: page.items.map(({ name }) => name) });
  }
}
