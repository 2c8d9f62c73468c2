import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { IncomingMessage } from 'node:http';
import { doorOf, routeAddress } from './route-address.js';

function address(method: string, url: string, target?: string): string {
  return routeAddress({ method, url, headers: { 'x-amz-target': target } } as unknown as IncomingMessage);
}

const PREFIX = 'AmazonEC2ContainerRegistry_V20150921.';

describe('routeAddress', () => {
  it('sends an ECR request to the route of the operation its target names', () => {
    expect(address('POST', '/', `${PREFIX}CreateRepository`)).toBe('/ecr/CreateRepository');
    expect(address('POST', '/?x=1', `${PREFIX}CreateRepository`)).toBe('/ecr/CreateRepository');
    expect(address('POST', 'http://registry.test', `${PREFIX}CreateRepository`)).toBe(
      '/ecr/CreateRepository',
    );
  });

  it.each([
    undefined,
    '',
    'CreateRepository',
    'DynamoDB_20120810.PutItem',
    PREFIX,
    `${PREFIX}../x`,
    `${PREFIX}a/b`,
    `${PREFIX}a?b`,
  ])('answers the target %j as an unknown operation', (target) => {
    expect(address('POST', '/', target)).toBe('/ecr/unknown-operation');
  });

  it.each([
    '/ecr/CreateRepository',
    '/ecr',
    '/ecr?x',
    '/%65cr/CreateRepository',
    '/%65%63%72/x',
    'http://h/ecr/x',
    '/ECR/x',
  ])('keeps the internal address %s out of reach of the wire', (url) => {
    expect(address('POST', url, `${PREFIX}CreateRepository`)).toBe('/unroutable');
  });

  it.each([
    ['/v2/a/manifests/x', '/v2/a/manifests/x'],
    ['/v2/a/b/manifests/x', '/v2/a%2Fb/manifests/x'],
    ['/v2/a/b/c/blobs/uploads/', '/v2/a%2Fb%2Fc/blobs/uploads/'],
    ['/v2/a/b/blobs/uploads', '/v2/a%2Fb/blobs/uploads'],
    ['/v2/a/b/blobs/uploads/?mount=sha256:x&from=c/d', '/v2/a%2Fb/blobs/uploads/?mount=sha256:x&from=c/d'],
    ['/v2/a/b/blobs/uploads/1-2', '/v2/a%2Fb/blobs/uploads/1-2'],
    ['/v2/a/b/blobs/sha256:00', '/v2/a%2Fb/blobs/sha256:00'],
    ['/v2/a/b/tags/list?n=1&last=x/manifests/y', '/v2/a%2Fb/tags/list?n=1&last=x/manifests/y'],
    ['/v2/a/b/referrers/sha256:00', '/v2/a%2Fb/referrers/sha256:00'],
    ['http://registry.test:5160/v2/a/b/tags/list', '/v2/a%2Fb/tags/list'],
  ])('makes the name of %s one parameter', (url, routed) => {
    expect(address('GET', url)).toBe(routed);
  });

  it.each([
    ['a/manifests', '/v2/a/manifests/manifests/x', '/v2/a%2Fmanifests/manifests/x'],
    ['tags/blobs', '/v2/tags/blobs/tags/list', '/v2/tags%2Fblobs/tags/list'],
    ['blobs/uploads', '/v2/blobs/uploads/blobs/uploads/', '/v2/blobs%2Fuploads/blobs/uploads/'],
  ])('lets a repository be called %s', (_name, url, routed) => {
    expect(address('GET', url)).toBe(routed);
  });

  it('lets an image be tagged with a word of the API', () => {
    expect(address('GET', '/v2/a/b/manifests/tags')).toBe('/v2/a%2Fb/manifests/tags');
    expect(address('GET', '/v2/a/b/manifests/blobs')).toBe('/v2/a%2Fb/manifests/blobs');
  });

  it.each(['/', '/v2/', '/v2/_catalog?n=3', '/v2/manifests/x', '/livez', '*', '/v2/%zz'])(
    'leaves %s as it is',
    (url) => {
      expect(address('GET', url)).toBe(url);
    },
  );

  it('finds every name in front of every resource', () => {
    const segment = fc.constantFrom(
      'a',
      'manifests',
      'blobs',
      'tags',
      'list',
      'uploads',
      'referrers',
      'a.b',
      'a__b',
    );
    const resource = fc.constantFrom(
      'manifests/t',
      'blobs/sha256:0',
      'blobs/uploads/',
      'blobs/uploads/7',
      'tags/list',
      'referrers/sha256:0',
    );
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), resource, (name, rest) => {
        expect(address('GET', `/v2/${name.join('/')}/${rest}`)).toBe(`/v2/${name.join('%2F')}/${rest}`);
      }),
    );
  });

  it('takes time in proportion to the length of the path', () => {
    const start = performance.now();
    address('GET', `/v2/${'manifests/'.repeat(3000)}/`);
    address('GET', `/v2/${'blobs/uploads/'.repeat(2000)}/`);
    expect(performance.now() - start).toBeLessThan(200);
  });
});

describe('doorOf', () => {
  it.each([
    ['/', 'ecr'],
    ['/?a=b', 'ecr'],
    ['http://registry.test/', 'ecr'],
    ['/v2', 'oci'],
    ['/v2/', 'oci'],
    ['/v2/a/tags/list?n=1', 'oci'],
    ['/v2x', null],
    ['/metrics', null],
  ])('knows which protocol %s speaks', (url, door) => {
    expect(doorOf(url)).toBe(door);
  });
});
