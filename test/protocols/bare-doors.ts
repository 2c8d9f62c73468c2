import { Body, Controller, Get, HttpCode, Module, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type {
  BatchGetImageRequest,
  BatchGetImageResponse,
  InitiateLayerUploadRequest,
  InitiateLayerUploadResponse,
  UploadLayerPartRequest,
  UploadLayerPartResponse,
} from '@aws-sdk/client-ecr';
import type { FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { ByteBudget } from '../../src/blob-store/byte-budget.js';
import type { Digest } from '../../src/domain/digest.js';
import { RegistryError } from '../../src/domain/registry-error.js';
import { registerBodyParsers } from '../../src/protocols/body-parsers.js';
import type { EcrBody, LayerPart } from '../../src/protocols/ecr/ecr-body.js';
import { EcrOperation } from '../../src/protocols/ecr/ecr-operation.decorator.js';
import { UploadedLayerPart } from '../../src/protocols/ecr/layer-part.decorator.js';
import { fastifyOptions } from '../../src/protocols/http-server-options.js';
import {
  BodyStream,
  DigestParam,
  ManifestBytes,
  ReferenceParam,
  RepositoryNameParam,
} from '../../src/protocols/oci/oci-params.decorator.js';
import { OciRoute } from '../../src/protocols/oci/oci-route.decorator.js';
import { ProtocolsModule } from '../../src/protocols/protocols.module.js';

export const PREFIX = 'AmazonEC2ContainerRegistry_V20150921.';
/** Milliseconds. */
const SILENCE = 400;
export const upload = { registryId: '000000000000', repositoryName: 'a/b', uploadId: crypto.randomUUID() };

@Controller('ecr')
class EcrController {
  @EcrOperation('InitiateLayerUpload')
  initiate(@Body() input: InitiateLayerUploadRequest): Promise<InitiateLayerUploadResponse> {
    return Promise.resolve({ uploadId: input.repositoryName, partSize: 10485760 });
  }

  @EcrOperation('UploadLayerPart')
  part(
    @Body() input: UploadLayerPartRequest,
    @UploadedLayerPart() part: LayerPart,
    @Req() request: FastifyRequest,
  ): Promise<UploadLayerPartResponse> {
    if (input.partFirstByte !== 0)
      throw RegistryError.notTheNextByte(input.partFirstByte!, { ...upload, lastValidByteReceived: 9 });
    if (part.bytes !== input.layerPartBlob) throw new Error('The part and the input are not the same bytes');
    const { payloadSha256 } = request.body as EcrBody;
    return Promise.resolve({
      repositoryName: String(part.crc32),
      uploadId: payloadSha256,
      lastByteReceived: part.bytes.length - 1,
    });
  }

  @EcrOperation('BatchGetImage')
  fail(_input: BatchGetImageRequest): Promise<BatchGetImageResponse> {
    return Promise.reject(new TypeError('secret detail'));
  }
}

@Controller('v2')
class OciController {
  @OciRoute('GET', '', { action: 'ecr:GetAuthorizationToken' })
  ping(): string {
    return '';
  }

  @OciRoute('HEAD', ':name/manifests/:reference', { action: 'ecr:BatchGetImage' })
  check(@RepositoryNameParam() name: string, @ReferenceParam() image: { tag?: string }): void {
    throw RegistryError.imageNotFound(image, name, '000000000000');
  }

  @OciRoute('PUT', ':name/manifests/:reference', { action: 'ecr:PutImage' })
  put(
    @RepositoryNameParam() name: string,
    @ReferenceParam() image: unknown,
    @ManifestBytes() manifest: Buffer,
  ) {
    return {
      name,
      image,
      bytes: manifest.length,
      sha256: createHash('sha256').update(manifest).digest('hex'),
    };
  }

  @OciRoute('GET', ':name/blobs/:digest', { action: 'ecr:GetDownloadUrlForLayer' })
  blob(@RepositoryNameParam() name: string, @DigestParam() digest: Digest) {
    return { name, digest: digest.toString() };
  }

  @OciRoute('PATCH', ':name/blobs/uploads/:upload', { action: 'ecr:UploadLayerPart' })
  @HttpCode(202)
  async patch(@RepositoryNameParam() name: string, @BodyStream() bytes: Readable) {
    let received = 0;
    for await (const chunk of bytes) received += (chunk as Buffer).length;
    return { name, received };
  }
}

@Controller()
class OtherController {
  @Get('livez')
  live(): string {
    return 'live';
  }
}

@Module({ imports: [ProtocolsModule], controllers: [EcrController, OciController, OtherController] })
class DoorsModule {}

/** Both doors without a registry behind them: controllers that tell what reached them. */
export class BareDoors {
  private constructor(
    private readonly app: NestFastifyApplication,
    readonly url: string,
    private readonly budget: ByteBudget,
  ) {}

  static async open(): Promise<BareDoors> {
    const app = await NestFactory.create<NestFastifyApplication>(
      DoorsModule,
      new FastifyAdapter(fastifyOptions()),
      { bodyParser: false, logger: false },
    );
    const budget = new ByteBudget(64 * 1024 * 1024);
    registerBodyParsers(app.getHttpAdapter().getInstance(), budget, SILENCE);
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;
    return new BareDoors(app, `http://127.0.0.1:${port}`, budget);
  }

  async close(): Promise<void> {
    await this.app.close();
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  ecr(
    target: string | undefined,
    body: string | undefined,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const init: RequestInit = {
      method: 'POST',
      headers: target === undefined ? headers : { 'x-amz-target': target, ...headers },
    };
    return fetch(`${this.url}/`, body === undefined ? init : { ...init, body });
  }

  /** Writes a request by hand and returns everything that comes back until the connection closes. */
  raw(request: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.write(request));
      let answer = '';
      socket.on('data', (chunk) => (answer += chunk.toString()));
      socket.on('close', () => resolve(answer));
      socket.on('error', (error) => (answer === '' ? reject(error) : resolve(answer)));
    });
  }

  /** Whether all bytes that requests had reserved come back within half a second. */
  async budgetIsFree(): Promise<boolean> {
    for (let i = 0; i < 50 && this.budget.heldBytes > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    return this.budget.heldBytes === 0 && this.budget.waitingRequests === 0;
  }
}
