import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CreateRepositoryCommand, DescribeRepositoriesCommand } from '@aws-sdk/client-ecr';
import { startRegistry, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
let operatorUrl: string;

beforeAll(async () => {
  registry = await startRegistry({ store: 'filesystem' });
  ({ operatorUrl } = registry.environment);
});

afterAll(() => registry.close());

describe('the operator port', () => {
  it('says that the process lives and can serve', async () => {
    expect((await fetch(`${operatorUrl}/livez`)).status).toBe(200);
    const ready = await fetch(`${operatorUrl}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({
      ready: true,
      checks: { database: 'ok', blobStore: 'ok', port: 'ok' },
    });
  });

  it('measures requests by operation and outcome', async () => {
    await registry.ecr.send(new CreateRepositoryCommand({ repositoryName: 'measured' }));
    await registry.ecr
      .send(new DescribeRepositoriesCommand({ repositoryNames: ['none'] }))
      .catch(() => undefined);
    const metrics = await (await fetch(`${operatorUrl}/metrics`)).text();
    const count = 'stowage_request_duration_seconds_count';
    expect(metrics).toContain(`${count}{door="ecr",operation="CreateRepository",status="200"} 1`);
    expect(metrics).toContain(`${count}{door="ecr",operation="DescribeRepositories",status="400"} 1`);
    expect(metrics).toContain('process_resident_memory_bytes');
  });
});

describe('every answer', () => {
  it('carries the id of its request, refusals before the body included', async () => {
    const ids = new Set<string | null>();
    for (const path of ['/', '/v2/', '/v2/none/manifests/none', '/nowhere']) {
      const response = await fetch(registry.url + path);
      ids.add(response.headers.get('x-amzn-requestid'));
      const version = response.headers.get('docker-distribution-api-version');
      expect(version).toBe(path.startsWith('/v2/') ? 'registry/2.0' : null);
    }
    expect(ids.size).toBe(4);
    expect(ids).not.toContain(null);
  });
});
