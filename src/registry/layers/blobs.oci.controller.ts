import { Controller, Headers, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { type Digest } from '../../domain/digest.js';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import { DigestParam, RepositoryNameParam } from '../../protocols/oci/oci-params.decorator.js';
import { OciRoute } from '../../protocols/oci/oci-route.decorator.js';
import { RepositoriesService } from '../repositories/repositories.service.js';
import { deliver } from './delivery.js';
import { LayersService } from './layers.service.js';

/** Blobs of the distribution API: what the specification calls a blob is a layer here. */
@Controller('v2')
export class BlobsOciController {
  constructor(
    private readonly repositories: RepositoriesService,
    private readonly layers: LayersService,
  ) {}

  @OciRoute('HEAD', ':name/blobs/:digest', { action: 'ecr:BatchCheckLayerAvailability' })
  async checkBlob(
    @RepositoryNameParam() name: string,
    @DigestParam() digest: Digest,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const layer = await this.layers.find(addressedRegistry(caller), name, digest);
    await reply
      .header('docker-content-digest', String(digest))
      .header('accept-ranges', 'bytes')
      .header('content-type', 'application/octet-stream')
      .header('content-length', layer.sizeBytes)
      .send();
  }

  @OciRoute('GET', ':name/blobs/:digest', { action: 'ecr:GetDownloadUrlForLayer' })
  async getBlob(
    @RepositoryNameParam() name: string,
    @DigestParam() digest: Digest,
    @Headers('range') range: string | undefined,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const layer = await this.layers.find(addressedRegistry(caller), name, digest);
    void reply.header('docker-content-digest', String(digest));
    const location = await this.layers.redirect(layer);
    if (location) {
      await reply.code(307).header('location', location).send();
      return;
    }
    void reply
      .header('etag', `"${String(digest)}"`)
      .header('cache-control', 'private, max-age=31536000, immutable');
    await deliver(reply, { sizeBytes: layer.sizeBytes, range }, this.layers.source(layer));
  }

  @OciRoute('DELETE', ':name/blobs/:digest', { action: 'ecr:BatchDeleteImage' })
  async deleteBlob(
    @RepositoryNameParam() name: string,
    @DigestParam() digest: Digest,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.require(addressedRegistry(caller), name);
    await this.layers.delete(repository, digest);
    await reply.code(202).send();
  }
}
