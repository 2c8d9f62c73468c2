import { describe, expect, it } from '@jest/globals';
import { adding, presigned, refusal, signed, withHeader } from '../../../test/identity/signing.js';
import type { WireRequest } from './canonical-request.js';

describe('Signature Version 4: pieces missing', () => {
  const request = (...rawHeaders: string[]): WireRequest => ({ method: 'POST', url: '/', rawHeaders });
  const DATE = ['X-Amz-Date', '20260304T050607Z'];

  it('answers MissingAuthenticationToken when there is no credential at all', () => {
    expect(refusal(request('Host', 'h'))).toEqual({
      code: 'MissingAuthenticationToken',
      message: 'Missing Authentication Token',
    });
  });

  it('names every missing piece of the header, and shows of the header its scheme only', () => {
    expect(refusal(request('Authorization', 'Basic QVdTOnNlY3JldA=='))).toEqual({
      code: 'IncompleteSignature',
      message:
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. " +
        "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a " +
        "'X-Amz-Date' or a 'Date' header. Authorization=Basic",
    });
    const one = refusal(
      request(...DATE, 'Authorization', 'AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=s'),
    );
    expect(one?.message).toBe(
      "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
    );
  });

  it.each([
    ['a part without =', 'AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature', /not a key=value pair/],
    ['a repeated part', 'AWS4-HMAC-SHA256 Signature=a, Signature=b', /'Signature' more than once/],
    [
      'a short credential',
      'AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=s',
      /exactly 5/,
    ],
    [
      'an empty element',
      'AWS4-HMAC-SHA256 Credential=a//c/d/e, SignedHeaders=host, Signature=s',
      /exactly 5/,
    ],
    [
      'an empty piece',
      'AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature=s',
      /'SignedHeaders'/,
    ],
  ])('refuses %s', (_, authorization, message) => {
    expect(refusal(request(...DATE, 'Authorization', authorization))).toMatchObject({
      code: 'IncompleteSignature',
      message: expect.stringMatching(message),
    });
  });

  it('reads a header without spaces after its commas', async () => {
    const wire = withHeader(await signed(), 'authorization', (value) => value.replaceAll(', ', ','));
    expect(refusal(wire)).toBeNull();
  });

  it('refuses two Authorization headers, two dates, and header and query form together', async () => {
    const wire = await signed();
    const authorization = wire.rawHeaders[wire.rawHeaders.indexOf('authorization') + 1]!;
    expect(refusal(adding(wire, 'Authorization', authorization))?.message).toMatch(
      /'authorization' must not be given more/,
    );
    expect(refusal(adding(wire, 'X-Amz-Date', '20260304T050607Z'))?.message).toMatch(
      /'x-amz-date' must not be given more/,
    );
    const both = { ...wire, url: (await presigned()).url };
    expect(refusal(both)?.message).toMatch(/^Only one auth mechanism allowed/);
  });

  it('names every missing query parameter', async () => {
    const wire = await presigned();
    const without = (name: string) => ({ ...wire, url: wire.url.replace(new RegExp(`${name}=[^&]*&?`), '') });
    for (const name of [
      'X-Amz-Algorithm',
      'X-Amz-Date',
      'X-Amz-Expires',
      'X-Amz-Signature',
      'X-Amz-SignedHeaders',
    ]) {
      expect(refusal(without(name))).toEqual({
        code: 'IncompleteSignature',
        message: `AWS query-string parameters must include '${name}'. Re-examine the query-string parameters.`,
      });
    }
    expect(
      refusal({ ...wire, url: '/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260304T050607Z' })?.message,
    ).toMatch(/'X-Amz-Credential', 'X-Amz-Expires', 'X-Amz-Signature', 'X-Amz-SignedHeaders'/);
  });

  it.each(['604801', '-1', '1e3', '9'.repeat(16), 'x'])('refuses X-Amz-Expires=%s', async (expires) => {
    const wire = await presigned();
    const url = wire.url.replace(/X-Amz-Expires=\d+/, `X-Amz-Expires=${expires}`);
    expect(refusal({ ...wire, url })?.code).toBe('IncompleteSignature');
  });

  it('refuses a repeated query parameter and another algorithm', async () => {
    const wire = await presigned();
    expect(refusal({ ...wire, url: `${wire.url}&X-Amz-Expires=9` })?.message).toMatch(
      /must not be given more than once/,
    );
    const other = { ...wire, url: wire.url.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256') };
    expect(refusal(other)?.message).toBe("X-Amz-Algorithm only supports 'AWS4-HMAC-SHA256'.");
  });

  it('refuses signatures of another length or alphabet', async () => {
    const wire = await signed();
    for (const signature of ['', '0', 'g'.repeat(64), '0'.repeat(66), 'é'.repeat(64)]) {
      const forged = withHeader(wire, 'authorization', (value) => value.slice(0, -64) + signature);
      expect(refusal(forged)).not.toBeNull();
    }
  });
});
