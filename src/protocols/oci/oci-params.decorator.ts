import { createParamDecorator, type ExecutionContext, Param, type PipeTransform } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { Digest } from '../../domain/digest.js';
import { type ImageIdentifier, parseReference } from '../../domain/image-reference.js';
import { RegistryError } from '../../domain/registry-error.js';
import { requireRepositoryName } from '../../domain/repository-name.js';

const repositoryName: PipeTransform<string, string> = { transform: (text) => requireRepositoryName(text) };
const digest: PipeTransform<string, Digest> = { transform: (text) => Digest.require(text) };
const reference: PipeTransform<string, ImageIdentifier> = { transform: requireReference };

/** `:name`, a valid repository name. */
export const RepositoryNameParam = (): ParameterDecorator => Param('name', repositoryName);

/** `:reference`, a digest or a tag. */
export const ReferenceParam = (): ParameterDecorator => Param('reference', reference);

/** `:digest`, as a {@link Digest}. */
export const DigestParam = (): ParameterDecorator => Param('digest', digest);

/** The body as a stream of bytes; an empty one when the request has none. */
export const BodyStream = createParamDecorator((_: unknown, context: ExecutionContext): Readable => {
  const body: unknown = context.switchToHttp().getRequest<FastifyRequest>().body;
  return body instanceof Readable ? body : Readable.from([]);
});

/** The body of a manifest PUT, exactly as sent. */
export const ManifestBytes = createParamDecorator((_: unknown, context: ExecutionContext): Buffer => {
  const body: unknown = context.switchToHttp().getRequest<FastifyRequest>().body;
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
});

/** @throws RegistryError DigestInvalid for what is meant as a digest, TagInvalid otherwise */
function requireReference(text: string): ImageIdentifier {
  const identifier = parseReference(text);
  if (identifier) return identifier;
  if (text.includes(':')) throw RegistryError.digestInvalid(text);
  throw new RegistryError('TagInvalid', `Invalid tag: '${text.slice(0, 300)}'`);
}
