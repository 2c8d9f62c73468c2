import { Controller, Headers, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import {
  ManifestBytes,
  ReferenceParam,
  RepositoryNameParam,
} from '../../protocols/oci/oci-params.decorator.js';
import { OciRoute } from '../../protocols/oci/oci-route.decorator.js';
import type { StoredImage } from './image.js';
import { ImagesService } from './images.service.js';

/** Manifests of the distribution API: what the specification calls a manifest is an image here. */
@Controller('v2')
export class ManifestsOciController {
  constructor(private readonly images: ImagesService) {}

  @OciRoute('HEAD', ':name/manifests/:reference', { action: 'ecr:BatchGetImage' })
  async checkManifest(
    @RepositoryNameParam() name: string,
    @ReferenceParam() reference: ImageIdentifier,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const image = await this.images.get(addressedRegistry(caller), name, reference);
    await described(reply, image).header('content-length', image.manifest.length).send();
  }

  @OciRoute('GET', ':name/manifests/:reference', { action: 'ecr:BatchGetImage' })
  async getManifest(
    @RepositoryNameParam() name: string,
    @ReferenceParam() reference: ImageIdentifier,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const image = await this.images.pull(addressedRegistry(caller), name, reference);
    await described(reply, image).send(image.manifest);
  }

  @OciRoute('PUT', ':name/manifests/:reference', { action: 'ecr:PutImage' })
  async putManifest(
    @RepositoryNameParam() name: string,
    @ReferenceParam() reference: ImageIdentifier,
    @Query('tag') tags: string | string[] | undefined,
    @Headers('content-type') contentType: string | undefined,
    @ManifestBytes() bytes: Buffer,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    // `?tag=` names further tags of a push by digest, and may stand more than once.
    const named = reference.tag === undefined ? [tags ?? []].flat() : [reference.tag];
    const { digest, manifest } = await this.images.push(addressedRegistry(caller), name, {
      bytes,
      mediaType: contentType?.split(';')[0]!.trim() || undefined,
      tags: named,
      digest: reference.digest,
    });
    void reply
      .code(201)
      .header('location', `/v2/${name}/manifests/${digest}`)
      .header('docker-content-digest', digest);
    if (manifest.subjectDigest !== null) void reply.header('oci-subject', manifest.subjectDigest);
    if (reference.digest !== undefined && named.length > 0) void reply.header('oci-tag', named.join(', '));
    await reply.send();
  }

  @OciRoute('DELETE', ':name/manifests/:reference', { action: 'ecr:BatchDeleteImage' })
  async deleteManifest(
    @RepositoryNameParam() name: string,
    @ReferenceParam() reference: ImageIdentifier,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    await this.images.delete(addressedRegistry(caller), name, reference);
    await reply.code(202).send();
  }
}

function described(reply: FastifyReply, image: StoredImage): FastifyReply {
  return reply.header('content-type', image.mediaType).header('docker-content-digest', image.digest);
}
