import { spawn, spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ACCOUNT, GuardedRegistry, ROOT_KEY } from './guarded-registry.js';
import { KEY, refusal } from './signing.js';

interface BotocoreRequest {
  method: string;
  url: string;
  headers: [string, string][];
  body: string;
}

const found = spawnSync('python3', ['-c', 'import botocore']).status === 0;
if (!found) console.warn('SKIPPED: no python3 with botocore was found to sign requests independently');
const withBotocore = found ? describe : describe.skip;

function python(script: string[], input: unknown): unknown {
  const { status, stdout, stderr } = spawnSync('python3', script, {
    input: JSON.stringify(input),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as unknown;
}

withBotocore('requests signed by botocore', () => {
  let requests: Record<string, BotocoreRequest> & { now: string };

  beforeAll(() => {
    const script = new URL('./botocore_requests.py', import.meta.url).pathname;
    requests = python([script], { ...KEY, service: 'ecr', region: 'us-east-1' }) as typeof requests;
  });

  it.each([
    'an ordinary request',
    'a request dated by its Date header',
    'a header sent twice',
    'an unsigned payload',
    'paths and queries in need of encoding',
    'a presigned request',
  ])('are accepted: %s', (name) => {
    const { method, url, headers, body } = requests[name]!;
    const now = new Date(requests.now);
    const wire = { method, url, rawHeaders: headers.flat() };
    expect(refusal(wire, { body, now })).toBeNull();
    expect(refusal(wire, { body, now, secret: 'another' })?.code).toBe('InvalidSignature');
  });
});

withBotocore('botocore as a client', () => {
  const SCRIPT = `
import json, sys, botocore.session, botocore.config
case = json.load(sys.stdin)
client = botocore.session.Session().create_client('ecr', region_name='eu-central-1', endpoint_url=case['url'],
    aws_access_key_id=case['accessKeyId'], aws_secret_access_key=case['secretAccessKey'],
    config=botocore.config.Config(retries={'total_max_attempts': 1}))
try:
    data = client.get_authorization_token()['authorizationData'][0]
    print(json.dumps({**data, 'expiresAt': data['expiresAt'].isoformat()}))
except client.exceptions.ClientError as error:
    print(json.dumps(error.response['Error']))
`;
  let registry: GuardedRegistry;

  beforeAll(async () => {
    registry = await GuardedRegistry.start();
  });
  afterAll(() => registry.stop());

  // Not spawnSync: the registry answers from this very process.
  async function ask(credentials: typeof ROOT_KEY): Promise<Record<string, string>> {
    const child = spawn('python3', ['-c', SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(JSON.stringify({ url: registry.url, ...credentials }));
    const chunks: Buffer[] = [];
    for await (const chunk of child.stdout) chunks.push(chunk as Buffer);
    return JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
  }

  it('gets a token that logs in at the OCI door', async () => {
    const { authorizationToken } = await ask(ROOT_KEY);
    const response = await fetch(`${registry.url}/v2/`, {
      headers: { authorization: `Basic ${authorizationToken}` },
    });
    expect(await response.json()).toMatchObject({
      principal: { accountId: ACCOUNT },
      region: 'eu-central-1',
    });
  });

  it('understands why it is refused', async () => {
    expect(await ask({ ...ROOT_KEY, secretAccessKey: 'wrong' })).toMatchObject({
      Code: 'InvalidSignatureException',
    });
    expect(await ask({ ...ROOT_KEY, accessKeyId: 'AKIDUNKNOWN' })).toMatchObject({
      Code: 'UnrecognizedClientException',
    });
  });
});
