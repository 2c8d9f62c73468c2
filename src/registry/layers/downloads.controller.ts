import { Controller, Get, Headers, Param, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RegistryError } from '../../domain/registry-error.js';
import { Public } from '../../identity/public.decorator.js';
import { deliver } from './delivery.js';
import { LayersService } from './layers.service.js';

/** Where GetDownloadUrlForLayer points when the store cannot presign or is out of the clients' reach; the URL is the credential. */
@Controller('layers')
export class DownloadsController {
  constructor(private readonly layers: LayersService) {}

  @Public()
  @Get(':objectKey/:sizeBytes')
  async download(
    @Param('objectKey') objectKey: string,
    @Param('sizeBytes') size: string,
    @Headers('range') range: string | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (!/^[0-9]{1,15}$/.test(size)) throw new RegistryError('RouteNotFound', 'Not found');
    const layer = { objectKey, sizeBytes: Number(size) };
    const source = await this.layers.signedSource(request.originalUrl, layer);
    await deliver(reply, { sizeBytes: layer.sizeBytes, range }, source);
  }
}
