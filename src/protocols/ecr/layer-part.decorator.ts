import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { RegistryError } from '../../domain/registry-error.js';
import { isEcrBody, type LayerPart } from './ecr-body.js';

/** The decoded bytes of an UploadLayerPart with the digest computed while they were read. */
export const UploadedLayerPart = createParamDecorator((_: unknown, context: ExecutionContext): LayerPart => {
  const body: unknown = context.switchToHttp().getRequest<FastifyRequest>().body;
  if (isEcrBody(body) && body.fault) throw body.fault;
  if (!isEcrBody(body) || !body.layerPart)
    throw RegistryError.invalidParameter('layerPartBlob', 'must not be null');
  return body.layerPart;
});
