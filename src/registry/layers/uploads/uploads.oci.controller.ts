import type { Readable } from 'node:stream';
import { Controller, Headers, Param, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Digest } from '../../../domain/digest.js';
import { RegistryError } from '../../../domain/registry-error.js';
import { isRepositoryName } from '../../../domain/repository-name.js';
import { repositoryArn } from '../../../domain/arn.js';
import { Authorizer } from '../../../identity/authorization/authorizer.js';
import { addressedRegistry, type Caller } from '../../../identity/caller.js';
import { RequestCaller } from '../../../identity/request-caller.decorator.js';
import { contentRange } from '../../../protocols/oci/content-range.js';
import { BodyStream, RepositoryNameParam } from '../../../protocols/oci/oci-params.decorator.js';
import { OciRoute } from '../../../protocols/oci/oci-route.decorator.js';
import type { Repository } from '../../repositories/repository.js';
import { RepositoriesService } from '../../repositories/repositories.service.js';
import type { IncomingBytes } from './incoming-bytes.js';
import { LayersService } from '../layers.service.js';
import { MIN_LAYER_PART_BYTES } from './upload.js';
import { UploadsService } from './uploads.service.js';
import { CompletionsService } from './completions.service.js';

interface StartQuery {
  digest?: string;
  mount?: string;
  from?: string;
  'digest-algorithm'?: string;
}

/** Blob uploads of the distribution API, on the same sessions as the ECR door's. */
@Controller('v2')
export class UploadsOciController {
  constructor(
    private readonly repositories: RepositoriesService,
    private readonly uploads: UploadsService,
    private readonly completions: CompletionsService,
    private readonly layers: LayersService,
    private readonly authorizer: Authorizer,
  ) {}

  @OciRoute('POST', ':name/blobs/uploads', { action: 'ecr:InitiateLayerUpload' })
  async startUpload(
    @RepositoryNameParam() name: string,
    @Query() query: StartQuery,
    @Headers('content-length') length: string | undefined,
    @BodyStream() body: Readable,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.require(addressedRegistry(caller), name);
    const mounted = query.mount === undefined ? null : Digest.require(single('mount', query.mount));
    if (mounted && (await this.mount(caller, repository, mounted, query.from)))
      return created(reply, name, mounted);
    const digest = query.digest === undefined ? null : Digest.require(single('digest', query.digest));
    const wantsSha512 =
      digest?.algorithm === 'sha512' || hashAlgorithm(query['digest-algorithm']) === 'sha512';
    const uploadId = await this.uploads.begin(repository, { wantsSha512 });
    if (!digest) return accepted(reply, name, uploadId, 0);
    try {
      await this.completions.complete(repository, uploadId, {
        digests: [digest],
        body: incoming(body, length),
        strict: false,
      });
    } catch (error) {
      // Nobody was told of this session.
      await this.uploads.cancel(repository, uploadId).catch(() => undefined);
      throw error;
    }
    return created(reply, name, digest);
  }

  @OciRoute('PATCH', ':name/blobs/uploads/:upload', { action: 'ecr:UploadLayerPart' })
  async uploadChunk(
    @RepositoryNameParam() name: string,
    @Param('upload') uploadId: string,
    @Headers('content-range') rangeHeader: string | undefined,
    @Headers('content-length') length: string | undefined,
    @BodyStream() body: Readable,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.require(addressedRegistry(caller), name);
    const range = contentRange(rangeHeader) ?? undefined;
    const offset = await this.uploads.appendStream(
      repository,
      uploadId,
      range,
      incoming(body, length, range),
    );
    return accepted(reply, name, uploadId, offset);
  }

  @OciRoute('PUT', ':name/blobs/uploads/:upload', { action: 'ecr:CompleteLayerUpload' })
  async finishUpload(
    @RepositoryNameParam() name: string,
    @Param('upload') uploadId: string,
    @Query('digest') digestText: string | undefined,
    @Headers('content-range') rangeHeader: string | undefined,
    @Headers('content-length') length: string | undefined,
    @BodyStream() body: Readable,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const digest = Digest.require(single('digest', digestText ?? ''));
    const repository = await this.repositories.require(addressedRegistry(caller), name);
    const range = contentRange(rangeHeader) ?? undefined;
    const empty = length === '0';
    await this.completions.complete(repository, uploadId, {
      digests: [digest],
      ...(empty ? {} : { body: incoming(body, length, range), range }),
      strict: false,
    });
    return created(reply, name, digest);
  }

  @OciRoute('GET', ':name/blobs/uploads/:upload', { action: 'ecr:UploadLayerPart' })
  async uploadStatus(
    @RepositoryNameParam() name: string,
    @Param('upload') uploadId: string,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.require(addressedRegistry(caller), name);
    const offset = await this.uploads.offset(repository, uploadId);
    await progress(reply, name, uploadId, offset).code(204).send();
  }

  @OciRoute('DELETE', ':name/blobs/uploads/:upload', { action: 'ecr:UploadLayerPart' })
  async cancelUpload(
    @RepositoryNameParam() name: string,
    @Param('upload') uploadId: string,
    @RequestCaller() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.require(addressedRegistry(caller), name);
    await this.uploads.cancel(repository, uploadId);
    await reply.code(204).send();
  }

  /** Only from repositories the caller may pull from; anything else looks as if the layer were not there. */
  private async mount(
    caller: Caller,
    target: Repository,
    digest: Digest,
    from: string | undefined,
  ): Promise<boolean> {
    const names =
      from === undefined ? await this.layers.repositoriesWith(target, digest) : [single('from', from)];
    for (const name of names.filter(isRepositoryName)) {
      const arn = repositoryArn(target.registry, name);
      if (!(await this.authorizer.allows(caller.principal, 'ecr:GetDownloadUrlForLayer', arn))) continue;
      const source = await this.repositories.find(target.registry, name);
      if (source && (await this.layers.mount(source, target, digest))) return true;
    }
    return false;
  }
}

function incoming(
  body: Readable,
  length: string | undefined,
  range?: { first: number; last: number },
): IncomingBytes {
  const announced = range ? range.last - range.first + 1 : length === undefined ? undefined : Number(length);
  if (range && length !== undefined && Number(length) !== announced) {
    throw new RegistryError('BlobSizeInvalid', 'Content-Range and Content-Length do not agree');
  }
  return announced === undefined ? { source: body } : { source: body, announcedBytes: announced };
}

function single(name: string, value: string): string {
  if (typeof value !== 'string') throw RegistryError.invalidParameter(name, 'must be given once');
  return value;
}

function hashAlgorithm(text: string | undefined): 'sha256' | 'sha512' {
  if (text === undefined || text === 'sha256' || text === 'sha512') return text ?? 'sha256';
  throw RegistryError.digestInvalid(text);
}

function progress(reply: FastifyReply, name: string, uploadId: string, offset: number): FastifyReply {
  return (
    reply
      .header('location', `/v2/${name}/blobs/uploads/${uploadId}`)
      .header('docker-upload-uuid', uploadId)
      // The header has no way to say "nothing yet"; 0-0 is what clients expect then.
      .header('range', `0-${Math.max(offset - 1, 0)}`)
  );
}

async function accepted(reply: FastifyReply, name: string, uploadId: string, offset: number): Promise<void> {
  await progress(reply, name, uploadId, offset)
    .header('oci-chunk-min-length', MIN_LAYER_PART_BYTES)
    .code(202)
    .send();
}

async function created(reply: FastifyReply, name: string, digest: Digest): Promise<void> {
  await reply
    .code(201)
    .header('location', `/v2/${name}/blobs/${String(digest)}`)
    .header('docker-content-digest', String(digest))
    .send();
}
