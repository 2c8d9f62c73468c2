import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DescribeRepositoriesResponse, GetDownloadUrlForLayerResponse } from '@aws-sdk/client-ecr';
import { Body, Controller, Get, Global, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { ByteBudget } from '../../src/blob-store/byte-budget.js';
import { CONFIG, loadConfig } from '../../src/config/config.js';
import { Authenticator } from '../../src/identity/authentication/authenticator.js';
import { registerEarlyAuthentication } from '../../src/identity/authentication/early-authentication.js';
import type { Caller } from '../../src/identity/caller.js';
import { IdentityModule } from '../../src/identity/identity.module.js';
import { Public } from '../../src/identity/public.decorator.js';
import { RequestCaller } from '../../src/identity/request-caller.decorator.js';
import { registerBodyParsers } from '../../src/protocols/body-parsers.js';
import { EcrOperation } from '../../src/protocols/ecr/ecr-operation.decorator.js';
import { fastifyOptions } from '../../src/protocols/http-server-options.js';
import { OciRoute } from '../../src/protocols/oci/oci-route.decorator.js';
import { ProtocolsModule } from '../../src/protocols/protocols.module.js';

export const ACCOUNT = '123456789012';
export const ROOT_KEY = {
  accessKeyId: 'STOWROOTKEYFORTESTS',
  secretAccessKey: 'a/root+secret/that/only/these/tests/know',
};

@Controller('ecr')
class RegionsEcrController {
  /** Answers its caller's Region, as the cursor of an empty listing. */
  @EcrOperation('DescribeRepositories')
  describeRepositories(
    @Body() _input: object,
    @RequestCaller() caller: Caller,
  ): DescribeRepositoriesResponse {
    return { repositories: [], nextToken: caller.region };
  }

  @EcrOperation('GetDownloadUrlForLayer')
  getDownloadUrlForLayer(): GetDownloadUrlForLayerResponse {
    return { downloadUrl: 'http://localhost/' };
  }
}

@Controller('v2')
class CallersOciController {
  @OciRoute('GET', '', { action: 'ecr:GetAuthorizationToken' })
  ping(@RequestCaller() caller: Caller): Caller {
    return caller;
  }

  @OciRoute('PATCH', ':name/blobs/uploads/:upload', { action: 'ecr:UploadLayerPart' })
  append(@RequestCaller() caller: Caller): Caller {
    return caller;
  }
}

@Controller('layers')
class PublicController {
  @Public()
  @Get(':id')
  download(): string {
    return 'layer';
  }
}

/** The doors with all of identity behind them and controllers that only say who called. */
export class GuardedRegistry {
  private constructor(
    readonly app: NestFastifyApplication,
    readonly url: string,
  ) {}

  static async start(
    env: NodeJS.ProcessEnv = {},
    controllers: Type[] = [RegionsEcrController, CallersOciController, PublicController],
    prepare: (instance: FastifyInstance) => void = () => {},
  ): Promise<GuardedRegistry> {
    const config = loadConfig({
      STOWAGE_ACCOUNT_ID: ACCOUNT,
      STOWAGE_ROOT_ACCESS_KEY_ID: ROOT_KEY.accessKeyId,
      STOWAGE_ROOT_SECRET_ACCESS_KEY: ROOT_KEY.secretAccessKey,
      ...env,
    });
    @Global()
    @Module({ providers: [{ provide: CONFIG, useValue: config }], exports: [CONFIG] })
    class TestConfigModule {}
    @Module({ imports: [TestConfigModule, ProtocolsModule, IdentityModule], controllers })
    class TestModule {}

    const adapter = new FastifyAdapter(fastifyOptions() as never);
    const app = await NestFactory.create<NestFastifyApplication>(TestModule, adapter, {
      bodyParser: false,
      logger: false,
      abortOnError: false,
    });
    const instance = app.getHttpAdapter().getInstance();
    registerBodyParsers(instance, new ByteBudget(64 * 1024 * 1024));
    registerEarlyAuthentication(instance, app.get(Authenticator));
    prepare(instance);
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;
    return new GuardedRegistry(app, `http://127.0.0.1:${port}`);
  }

  /** Sends the head of a request that announces a body, and never the body: whoever answers has not waited for it. */
  async sendHead(method: string, path: string, headers: OutgoingHttpHeaders): Promise<IncomingMessage> {
    const request = httpRequest(`${this.url}${path}`, {
      method,
      headers: { 'content-length': 1024 * 1024, ...headers },
      agent: false,
    });
    request.flushHeaders();
    try {
      return await new Promise((resolve, reject) => {
        request.once('response', (response) => {
          response.resume();
          resolve(response);
        });
        request.once('error', reject);
        setTimeout(() => reject(new Error('no answer before the body')), 500).unref();
      });
    } finally {
      request.on('error', () => {});
      request.destroy();
    }
  }

  stop(): Promise<void> {
    return this.app.close();
  }
}
