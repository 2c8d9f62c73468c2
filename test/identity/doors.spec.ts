import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DescribeRepositoriesCommand, ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr';
import { Controller, Get } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { Public } from '../../src/identity/public.decorator.js';
import { ACCOUNT, GuardedRegistry, ROOT_KEY } from './guarded-registry.js';

let registry: GuardedRegistry;

beforeAll(async () => {
  registry = await GuardedRegistry.start({ STOWAGE_PUBLIC_URL: 'https://registry.internal/' });
});
afterAll(() => registry.stop());

function ecr(
  options: { region?: string; credentials?: typeof ROOT_KEY & { sessionToken?: string } } = {},
): ECRClient {
  const { region = 'us-east-1', credentials = ROOT_KEY } = options;
  return new ECRClient({ endpoint: registry.url, region, credentials, maxAttempts: 1 });
}

async function authorizationToken(region = 'us-east-1'): Promise<string> {
  const { authorizationData } = await ecr({ region }).send(new GetAuthorizationTokenCommand({}));
  return authorizationData![0]!.authorizationToken!;
}

const get = (path: string, authorization?: string, method = 'GET'): Promise<Response> =>
  fetch(`${registry.url}${path}`, { method, headers: authorization === undefined ? {} : { authorization } });

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

async function ociError(response: Response): Promise<unknown> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return { status: response.status, ...errors[0] };
}

describe('the ECR door', () => {
  it('lets the root key in and takes the Region from its signature', async () => {
    for (const region of ['us-east-1', 'eu-west-1']) {
      const { nextToken } = await ecr({ region }).send(new DescribeRepositoriesCommand({}));
      expect(nextToken).toBe(region);
    }
  });

  it('answers each fault of a credential with its own error, status 400', async () => {
    const wrongSecret = { ...ROOT_KEY, secretAccessKey: 'wrong' };
    const wrongKey = { ...ROOT_KEY, accessKeyId: 'AKIDUNKNOWN' };
    const temporary = { ...ROOT_KEY, sessionToken: 'token' };
    const invalid = 'The security token included in the request is invalid.';
    for (const [credentials, name, message] of [
      [
        wrongSecret,
        'InvalidSignatureException',
        expect.stringMatching(/^The request signature we calculated/),
      ],
      [wrongKey, 'UnrecognizedClientException', invalid],
      [temporary, 'UnrecognizedClientException', invalid],
    ] as const) {
      await expect(ecr({ credentials }).send(new DescribeRepositoriesCommand({}))).rejects.toMatchObject({
        name,
        message,
        $metadata: { httpStatusCode: 400 },
      });
    }
  });

  it('keeps callers out of the registries of other accounts', async () => {
    await expect(
      ecr().send(new DescribeRepositoriesCommand({ registryId: '999999999999' })),
    ).rejects.toMatchObject({
      name: 'AccessDeniedException',
      message: `User: arn:aws:iam::${ACCOUNT}:root is not authorized to perform: ecr:DescribeRepositories on resource: arn:aws:ecr:us-east-1:999999999999:repository/* because no resource-based policy allows the ecr:DescribeRepositories action`,
    });
  });

  const target = (operation: string) => ({
    'x-amz-target': `AmazonEC2ContainerRegistry_V20150921.${operation}`,
    'content-type': 'application/x-amz-json-1.1',
  });

  it('tells a broken body only to those who have proven who they are', async () => {
    const response = await fetch(`${registry.url}/`, {
      method: 'POST',
      headers: target('DescribeRepositories'),
      body: '{',
    });
    expect(await response.json()).toMatchObject({ __type: 'MissingAuthenticationTokenException' });
  });

  it('refuses before the body: no credential, half a credential, an outdated one, an unknown key, no such operation', async () => {
    const credential = (key: string) =>
      `AWS4-HMAC-SHA256 Credential=${key}/20200101/us-east-1/ecr/aws4_request`;
    const signed = `SignedHeaders=host;x-amz-date;x-amz-target, Signature=${'0'.repeat(64)}`;
    const now = new Date().toISOString().slice(0, 19).replace(/[-:]/g, '') + 'Z';
    for (const headers of [
      {},
      { authorization: credential('a') },
      { authorization: `${credential(ROOT_KEY.accessKeyId)}, ${signed}`, 'x-amz-date': '20200101T000000Z' },
      {
        authorization: `${credential('AKIDUNKNOWN').replace('20200101', now.slice(0, 8))}, ${signed}`,
        'x-amz-date': now,
      },
    ]) {
      const response = await registry.sendHead('POST', '/', {
        ...target('DescribeRepositories'),
        ...headers,
      });
      expect(response.statusCode).toBe(400);
    }
    expect((await registry.sendHead('POST', '/', target('NoSuchThing'))).statusCode).toBe(400);
    const wellFormed = {
      authorization: `${credential(ROOT_KEY.accessKeyId).replace('20200101', now.slice(0, 8))}, ${signed}`,
      'x-amz-date': now,
    };
    await expect(
      registry.sendHead('POST', '/', { ...target('DescribeRepositories'), ...wellFormed }),
    ).rejects.toThrow('no answer before the body');
  });
});

describe('GetAuthorizationToken', () => {
  it('gives a password for the user AWS, its end, and the configured address', async () => {
    const { authorizationData } = await ecr().send(new GetAuthorizationTokenCommand({}));
    const [{ authorizationToken, expiresAt, proxyEndpoint } = {}] = authorizationData!;
    expect(authorizationData).toHaveLength(1);
    expect(Buffer.from(authorizationToken!, 'base64').toString()).toMatch(/^AWS:[^:\s]+$/);
    expect(proxyEndpoint).toBe('https://registry.internal');
    expect(Math.abs(expiresAt!.getTime() - Date.now() - 12 * 3_600_000)).toBeLessThan(10_000);
  });

  it('gives one element for each registry asked for, of the own account only', async () => {
    const own = await ecr().send(new GetAuthorizationTokenCommand({ registryIds: [ACCOUNT, ACCOUNT] }));
    expect(own.authorizationData).toHaveLength(2);
    await expect(
      ecr().send(new GetAuthorizationTokenCommand({ registryIds: [ACCOUNT, '999999999999'] })),
    ).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });
});

describe('the OCI door', () => {
  it('challenges with Basic whoever comes without a credential', async () => {
    for (const method of ['GET', 'HEAD']) {
      const response = await get('/v2/', undefined, method);
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toMatch(
        /^Basic realm="https?:\/\/[^"]+\/",service="ecr.amazonaws.com"$/,
      );
      expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
    }
  });

  it('takes the authorization token as the whole Basic credential, and the Region it was issued in', async () => {
    const response = await get('/v2/', `Basic ${await authorizationToken('eu-west-1')}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      principal: {
        arn: `arn:aws:iam::${ACCOUNT}:root`,
        accountId: ACCOUNT,
        accessKeyId: ROOT_KEY.accessKeyId,
      },
      region: 'eu-west-1',
    });
  });

  it('takes the password apart from the user, whatever the case of the scheme', async () => {
    const password = Buffer.from(await authorizationToken(), 'base64')
      .toString()
      .slice('AWS:'.length);
    expect((await get('/v2/', basic('AWS', password))).status).toBe(200);
    expect((await get('/v2/', basic('AWS', password).replace('Basic', 'basic '))).status).toBe(200);
  });

  it('answers 401 with a challenge to another user and to garbage', async () => {
    const password = Buffer.from(await authorizationToken(), 'base64')
      .toString()
      .slice('AWS:'.length);
    const garbage = [
      '',
      'Basic',
      'Basic !',
      'Basic QVdT',
      `Bearer ${password}`,
      'AWS4-HMAC-SHA256 Credential=a',
    ];
    const users = ['aws', 'root', '', 'AWS '].map((user) => basic(user, password));
    for (const authorization of [...garbage, ...users, basic('AWS', ''), basic('AWS', `${password}:`)]) {
      const response = await get('/v2/', authorization);
      expect(response.headers.has('www-authenticate')).toBe(true);
      expect(await ociError(response)).toMatchObject({ status: 401, code: 'UNAUTHORIZED' });
    }
  });

  it('refuses before the body is sent, also without a content type', async () => {
    const path = '/v2/team/app/blobs/uploads/7d0c';
    expect((await registry.sendHead('PATCH', path, {})).statusCode).toBe(401);
    expect((await registry.sendHead('PATCH', path, { authorization: basic('AWS', 'x') })).statusCode).toBe(
      401,
    );
    const authorization = `Basic ${await authorizationToken()}`;
    expect((await registry.sendHead('PATCH', path, { authorization })).statusCode).toBe(200);
  });

  it('ignores the credential that a client carries along to a public route', async () => {
    for (const authorization of [undefined, 'Basic garbage', `Basic ${await authorizationToken()}`]) {
      expect(await (await get('/layers/1', authorization)).text()).toBe('layer');
    }
  });

  it('says of an expired token that it has expired, 403', async () => {
    const short = await GuardedRegistry.start({ STOWAGE_TOKEN_HOURS: '0.0001' });
    try {
      const client = new ECRClient({ endpoint: short.url, region: 'us-east-1', credentials: ROOT_KEY });
      const { authorizationData } = await client.send(new GetAuthorizationTokenCommand({}));
      const authorization = `Basic ${authorizationData![0]!.authorizationToken!}`;
      await new Promise((resolve) => setTimeout(resolve, 1100));
      expect(await ociError(await fetch(`${short.url}/v2/`, { headers: { authorization } }))).toEqual({
        status: 403,
        code: 'DENIED',
        message: 'Your authorization token has expired. Reauthenticate and try again.',
      });
    } finally {
      await short.stop();
    }
  });

  it('refuses a token for a Region that is no longer served', async () => {
    const authorization = `Basic ${await authorizationToken('eu-west-1')}`;
    const narrow = await GuardedRegistry.start({ STOWAGE_REGIONS: 'us-east-1' });
    try {
      expect((await fetch(`${narrow.url}/v2/`, { headers: { authorization } })).status).toBe(401);
    } finally {
      await narrow.stop();
    }
  });
});

describe('routes of which nobody said who may use them', () => {
  @Controller('bare')
  class BareController {
    @Get()
    read(): string {
      return 'open';
    }
  }

  @Controller('torn')
  class TornController {
    @Public()
    @Get('both')
    @RouteConfig({ operation: 'both', door: 'oci', action: 'ecr:ListImages', repository: false })
    both(): void {}

    @RouteConfig({ operation: 'lost' })
    @Public()
    @Get('lost')
    lost(): void {}

    @Get('halfway')
    @RouteConfig({ operation: 'halfway', action: 'ecr:ListImages' })
    halfway(): void {}
  }

  it('keep the registry from starting, each by its name', async () => {
    const failure = await GuardedRegistry.start({}, [BareController, TornController]).catch(
      (error: unknown) => error as Error,
    );
    expect((failure as Error).message.split('\n  ')).toEqual([
      'Routes without a clear declaration:',
      'BareController.read declares no action and is not public',
      'TornController.both is public, yet declares an action',
      'TornController.lost declares no action and is not public',
      'TornController.halfway declares an action, but not at which door or on which resources',
    ]);
  });

  it('answer nobody, even when they were registered past that check', async () => {
    const open = await GuardedRegistry.start({}, [], (instance) => void instance.get('/open', () => 'open'));
    try {
      const response = await fetch(`${open.url}/open`);
      expect(response.status).toBeGreaterThanOrEqual(500);
      expect(await response.text()).not.toContain('open');
    } finally {
      await open.stop();
    }
  });
});
