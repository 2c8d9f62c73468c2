import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { KEY, MISMATCH, presigned, refusal, signed, withHeader } from './signing.js';

describe('Signature Version 4: agreement with other signers', () => {
  // Signatures published in the test suite of the signing process.
  it.each([
    ['GET', [], '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    ['POST', [], '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
    [
      'GET',
      ['My-Header1', ' value1', 'My-Header2', ' "a   b   c"'],
      'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736',
    ],
    [
      'GET',
      ['My-Header1', 'value2', 'My-Header1', 'value2', 'My-Header1', 'value1'],
      'c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea',
    ],
  ])('accepts the published signature of %s with headers %j', (method, headers, signature) => {
    const names = new Set(headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase()));
    const authorization = [
      `AWS4-HMAC-SHA256 Credential=${KEY.accessKeyId}/20150830/us-east-1/service/aws4_request`,
      `SignedHeaders=${['host', ...names, 'x-amz-date'].join(';')}`,
      `Signature=${signature}`,
    ].join(', ');
    const rawHeaders = ['Host', 'example.amazonaws.com', 'X-Amz-Date', '20150830T123600Z', ...headers];
    const request = { method, url: '/', rawHeaders: [...rawHeaders, 'Authorization', authorization] };
    const now = new Date('2015-08-30T12:36:00Z');
    expect(refusal(request, { body: '', now, rules: { service: 'service' } })).toBeNull();
  });

  const reserved = new Set([
    'host',
    'authorization',
    'date',
    'x-amz-date',
    'x-amz-security-token',
    '__proto__',
  ]);
  const headerName = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,20}$/);
  const headerValue = fc.stringMatching(/^[\t -~\u00a0-\u00ff]{0,40}$/);
  const headers = fc.dictionary(headerName, headerValue, { maxKeys: 6 }).filter((set) => {
    const names = Object.keys(set).map((name) => name.toLowerCase());
    return new Set(names).size === names.length && !names.some((name) => reserved.has(name));
  });
  const text = fc.string({ unit: 'grapheme', maxLength: 12 });
  const segment = fc.oneof(
    text.map((part) => encodeURIComponent(part)),
    fc.constantFrom('', '.', '..', '%2F', 'a+b', "!'()*"),
  );
  const path = fc.array(segment, { maxLength: 5 }).map((parts) => `/${parts.join('/')}`);
  const parameter = text.filter((name) => name !== '__proto__' && !/^x-amz-/i.test(name));
  const query = fc.dictionary(parameter, fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })), {
    maxKeys: 5,
  });
  const draft = fc.record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE'),
    path,
    query,
    headers,
    body: fc.uint8Array({ maxLength: 200 }),
  });

  it('accepts whatever the SDK signs in the header form', async () => {
    await fc.assert(
      fc.asyncProperty(draft, fc.boolean(), async (request, checksum) => {
        expect(refusal(await signed(request, { checksum }), { body: request.body })).toBeNull();
      }),
      { numRuns: 300 },
    );
  });

  it('accepts whatever the SDK presigns', async () => {
    await fc.assert(
      fc.asyncProperty(draft, fc.integer({ min: 1, max: 604_800 }), async (request, expiresIn) => {
        expect(refusal(await presigned(request, expiresIn), { body: request.body })).toBeNull();
      }),
      { numRuns: 300 },
    );
  });

  it('refuses any other body, secret or signature', async () => {
    await fc.assert(
      fc.asyncProperty(draft, fc.nat(63), async (request, position) => {
        const wire = await signed(request);
        const otherBody = Buffer.concat([request.body, Buffer.from('x')]);
        expect(refusal(wire, { body: otherBody })?.message).toMatch(MISMATCH);
        expect(refusal(wire, { body: request.body, secret: 'another' })?.message).toMatch(MISMATCH);
        const forged = withHeader(wire, 'authorization', (value) => {
          const start = value.length - 64;
          const digit = value[start + position] === '0' ? '1' : '0';
          return value.slice(0, start + position) + digit + value.slice(start + position + 1);
        });
        expect(refusal(forged, { body: request.body })?.message).toMatch(MISMATCH);
      }),
      { numRuns: 100 },
    );
  });
});
