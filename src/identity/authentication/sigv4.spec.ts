import { describe, expect, it } from '@jest/globals';
import {
  adding,
  draftRequest,
  MISMATCH,
  NOW,
  presigned,
  refusal,
  RULES,
  sha256,
  signed,
  signer,
  toWire,
  withHeader,
} from '../../../test/identity/signing.js';
import { parseCredential } from './sigv4.js';

describe('Signature Version 4: what a signature covers', () => {
  it('refuses another method, path or query', async () => {
    const wire = await signed({ path: '/a', query: { b: 'c' } });
    expect(refusal(wire)).toBeNull();
    for (const change of [
      { method: 'PUT' },
      { url: '/A?b=c' },
      { url: '/a?b=d' },
      { url: '/a?b=c&e=' },
      { url: '/a' },
    ]) {
      expect(refusal({ ...wire, ...change })).toMatchObject({
        code: 'InvalidSignature',
        message: expect.stringMatching(MISMATCH),
      });
    }
  });

  it('refuses a changed, stripped or repeated signed header', async () => {
    const wire = await signed({ headers: { 'content-type': 'application/x-amz-json-1.1' } });
    for (const name of ['host', 'x-amz-target', 'content-type']) {
      expect(refusal(withHeader(wire, name, (value) => `${value}x`))?.message).toMatch(MISMATCH);
      expect(refusal(withHeader(wire, name, () => null))?.message).toMatch(MISMATCH);
      expect(refusal(adding(wire, name, 'again'))?.message).toMatch(MISMATCH);
    }
  });

  it('takes a header sent twice for the joined value that was signed', async () => {
    const wire = await signed({ headers: { 'x-note': 'first,second  part' } });
    const twice = withHeader(wire, 'x-note', () => null);
    expect(refusal(adding(twice, 'X-Note', ' first', 'x-note', 'second part '))).toBeNull();
    expect(refusal(adding(twice, 'X-Note', 'second part', 'x-note', 'first'))?.message).toMatch(MISMATCH);
  });

  it('refuses an added x-amz- header, and lets others and x-amz-user-agent pass unsigned', async () => {
    const wire = await signed();
    expect(refusal(adding(wire, 'X-Amz-Extra', '1'))).toEqual({
      code: 'InvalidSignature',
      message: "'x-amz-extra' must be a 'SignedHeader' in the AWS Authorization.",
    });
    expect(
      refusal(adding(wire, 'Via', '1.1 proxy', 'X-Amz-User-Agent', 'sdk', 'X-Amzn-Trace-Id', 'r')),
    ).toBeNull();
  });

  it('refuses when the operation was not signed', async () => {
    const draft = draftRequest({});
    const request = await signer().sign(draft, {
      signingDate: NOW,
      unsignableHeaders: new Set(['x-amz-target']),
    });
    expect(refusal(toWire(request))?.message).toBe(
      "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    );
  });

  it('refuses when the host was not signed', async () => {
    const request = await signer().sign(draftRequest({}), {
      signingDate: NOW,
      unsignableHeaders: new Set(['host']),
    });
    expect(refusal(toWire(request))?.message).toBe(
      "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
  });

  it('refuses a header listed twice among the signed ones', async () => {
    const wire = withHeader(await signed(), 'authorization', (value) => value.replace('host;', 'host;host;'));
    expect(refusal(wire)?.message).toMatch(MISMATCH);
  });

  it('accepts the absolute form of the target that a proxy sends', async () => {
    const wire = await signed();
    expect(refusal({ ...wire, url: 'http://localhost:5160/' })).toBeNull();
    expect(refusal({ ...wire, url: 'http://localhost:5160' })).toBeNull();
  });

  it('refuses a query that is not percent-encoded UTF-8', async () => {
    const wire = await signed();
    for (const url of ['/?a=%', '/?a=%zz', '/?a=%ff'])
      expect(refusal({ ...wire, url })?.message).toMatch(MISMATCH);
  });
});

describe('Signature Version 4: payload hash', () => {
  const announced = (hash: string) => signed({ headers: { 'x-amz-content-sha256': hash } });

  it('accepts the real hash and a signed UNSIGNED-PAYLOAD', async () => {
    expect(refusal(await announced(sha256()))).toBeNull();
    expect(refusal(await announced('UNSIGNED-PAYLOAD'), { body: 'anything' })).toBeNull();
  });

  it('refuses any other announced hash, however well it is signed', async () => {
    for (const hash of [sha256('other'), sha256().toUpperCase(), 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', '']) {
      expect(refusal(await announced(hash))?.message).toMatch(MISMATCH);
    }
  });

  it('refuses UNSIGNED-PAYLOAD that was added or substituted after signing', async () => {
    const added = adding(await signed(), 'x-amz-content-sha256', 'UNSIGNED-PAYLOAD');
    expect(refusal(added, { body: 'other' })?.message).toMatch(
      /'x-amz-content-sha256' must be a 'SignedHeader'/,
    );
    const substituted = withHeader(
      await announced(sha256()),
      'x-amz-content-sha256',
      () => 'UNSIGNED-PAYLOAD',
    );
    expect(refusal(substituted, { body: 'other' })?.message).toMatch(MISMATCH);
  });

  it('refuses another body behind a presigned URL unless it says UNSIGNED-PAYLOAD itself', async () => {
    expect(refusal(await presigned(), { body: 'other' })?.message).toMatch(MISMATCH);
    const open = await presigned({ headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } });
    expect(refusal(open, { body: 'other' })).toBeNull();
  });
});

describe('Signature Version 4: time', () => {
  const at = (minutes: number, seconds = 0) => new Date(NOW.getTime() + minutes * 60_000 + seconds * 1000);

  it('accepts 15 minutes on either side and not a second more', async () => {
    const wire = await signed();
    expect(refusal(wire, { now: at(15) })).toBeNull();
    expect(refusal(wire, { now: at(-15) })).toBeNull();
    expect(refusal(wire, { now: at(15, 1) })).toEqual({
      code: 'InvalidSignature',
      message:
        'Signature expired: 20260304T050607Z is now earlier than 20260304T050608Z (20260304T052108Z - 15 min.)',
    });
    expect(refusal(wire, { now: at(-15, -1) })).toEqual({
      code: 'InvalidSignature',
      message:
        'Signature not yet current: 20260304T050607Z is still later than 20260304T050606Z (20260304T045106Z + 15 min.)',
    });
  });

  it('keeps a presigned request good for exactly as long as it says', async () => {
    const wire = await presigned({}, 90);
    expect(refusal(wire, { now: at(0, 90) })).toBeNull();
    expect(refusal(wire, { now: at(0, 91) })).toMatchObject({
      code: 'InvalidSignature',
      message: expect.stringContaining('Signature expired: 20260304T050607Z is now earlier than'),
    });
    expect(refusal(wire, { now: at(-16) })?.message).toMatch(/^Signature not yet current/);
    const longer = { ...wire, url: wire.url.replace('X-Amz-Expires=90', 'X-Amz-Expires=900') };
    expect(refusal(longer, { now: at(0, 91) })?.message).toMatch(MISMATCH);
  });

  it('refuses a captured request whose date was moved forward', async () => {
    const wire = withHeader(await signed(), 'x-amz-date', () => '20260304T060000Z');
    expect(refusal(wire, { now: at(60) })?.message).toMatch(MISMATCH);
  });

  it.each(['Wed, 04 Mar 2026 05:06:07 GMT', 'Wed, 04 Mar 2026 05:06:07 -0000', '20260304T050607Z'])(
    'takes the time from Date %s when there is no X-Amz-Date',
    async (date) => {
      const wire = await signed({ headers: {} });
      const unsigned = withHeader(wire, 'x-amz-date', () => null);
      const listed = withHeader(unsigned, 'authorization', (value) => value.replace(';x-amz-date', ''));
      // The time is part of what is signed, so that only the list of headers differs from what the signer knew.
      expect(refusal(adding(listed, 'Date', date))?.message).toMatch(MISMATCH);
      expect(refusal(adding(listed, 'Date', date), { now: at(16) })?.message).toMatch(
        /20260304T050607Z is now earlier/,
      );
    },
  );

  it.each([
    '2026-03-04T05:06:07Z',
    '20260304T050607',
    '20260230T050607Z',
    '20260304T250607Z',
    'yesterday',
    '0',
    '',
  ])('refuses the date %j', async (date) => {
    const wire = withHeader(await signed(), 'x-amz-date', () => date);
    expect(refusal(wire)?.code).toBe('IncompleteSignature');
  });
});

describe('Signature Version 4: scope', () => {
  it('refuses another service, a foreign Region, another terminator and another day, each by name', async () => {
    const scoped = async (from: string, to: string) =>
      refusal(withHeader(await signed(), 'authorization', (value) => value.replace(from, to)));
    expect(await scoped('/ecr/', '/s3/')).toEqual({
      code: 'InvalidSignature',
      message: "Credential should be scoped to correct service: 'ecr'.",
    });
    expect((await scoped('aws4_request', 'aws3_request'))?.message).toBe(
      "Credential should be scoped with a valid terminator: 'aws4_request'.",
    );
    expect((await scoped('/20260304/', '/20260303/'))?.message).toBe(
      "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260303' != '20260304', from '20260304T050607Z'.",
    );
    expect((await scoped('/us-east-1/', '/US_EAST_1/'))?.message).toBe(
      'Credential should be scoped to a valid region.',
    );
    expect((await scoped('/us-east-1/', '/eu-west-1/'))?.message).toMatch(MISMATCH);
  });

  it('serves the Regions it is told to, or any', async () => {
    const wire = await signed({}, { region: 'eu-west-1' });
    expect(refusal(wire)).toBeNull();
    expect(refusal(wire, { rules: { service: 'ecr', regions: ['us-east-1', 'eu-west-1'] } })).toBeNull();
    expect(refusal(wire, { rules: { service: 'ecr', regions: ['us-east-1'] } })?.message).toBe(
      'Credential should be scoped to a valid region.',
    );
  });

  it('verifies for the service it is told', async () => {
    expect(refusal(await signed({}, { service: 'sts' }), { rules: { service: 'sts' } })).toBeNull();
  });

  it('hands out the session token of temporary credentials', async () => {
    const wire = await signed({}, { sessionToken: 'token' });
    expect(parseCredential(wire, RULES, NOW)).toMatchObject({ sessionToken: 'token', region: 'us-east-1' });
  });
});
