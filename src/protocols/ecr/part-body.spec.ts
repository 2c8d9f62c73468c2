import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { PassThrough, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { ByteBudget } from '../../blob-store/byte-budget.js';
import { RegistryError } from '../../domain/registry-error.js';
import { MAX_PART_BODY_BYTES, MAX_PART_BYTES, readLayerPartBody } from './part-body.js';

const never = new AbortController().signal;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** @param cuts where the text is cut into chunks; repeated over its length */
function chunks(text: Buffer, cuts: number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, i = 0; at < text.length; i++) {
    const length = cuts.length > 0 ? cuts[i % cuts.length]! : text.length;
    pieces.push(text.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

async function read(text: string | Buffer, cuts: number[] = [], announce = true) {
  const bytes = Buffer.from(text as string);
  const budget = new ByteBudget(64 * 1024 * 1024);
  const stream = Readable.from(chunks(bytes, cuts), { objectMode: false });
  const { body, reservation } = await readLayerPartBody(
    stream,
    announce ? bytes.length : undefined,
    budget,
    never,
  );
  expect(body.payloadSha256).toBe(sha256(bytes));
  reservation?.release();
  expect(budget.heldBytes).toBe(0);
  return body;
}

describe('readLayerPartBody', () => {
  it('reads the part and what stands around it', async () => {
    const body = await read('{"uploadId":"u","layerPartBlob":"AQID","partFirstByte":0}');
    expect(body.fault).toBeUndefined();
    expect(body.document).toEqual({ uploadId: 'u', layerPartBlob: Buffer.from([1, 2, 3]), partFirstByte: 0 });
    expect(body.layerPart).toEqual({ bytes: Buffer.from([1, 2, 3]), crc32: crc32(Buffer.from([1, 2, 3])) });
  });

  it('agrees with a JSON parser and a base64 decoder, wherever the member stands and however the body is cut', async () => {
    const escapes = fc.constantFrom(
      (text: string) => text,
      (text: string) => text.replaceAll('/', '\\/'),
      (text: string) =>
        text.replace(
          /[a-e/+=]/g,
          (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
        ),
    );
    const space = fc.constantFrom('', ' ', '\n', ' \t\r\n ');
    const member = fc
      .tuple(fc.string({ unit: 'grapheme', maxLength: 8 }), fc.jsonValue({ maxDepth: 3 }))
      .filter(([name]) => name !== 'layerPartBlob' && name !== '__proto__');
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 400 }),
        fc.array(member, { maxLength: 4 }),
        fc.array(member, { maxLength: 4 }),
        escapes,
        fc.constantFrom('"layerPartBlob"', '"layer\\u0050artBlob"', '"\\u006cayerPartBlob"'),
        space,
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 6 }),
        fc.boolean(),
        async (part, before, after, escape, key, s, cuts, announce) => {
          const write = ([name, value]: [string, unknown]) =>
            `${JSON.stringify(name)}${s}:${s}${JSON.stringify(value)}`;
          const blob = `${key}${s}:${s}"${escape(Buffer.from(part).toString('base64'))}"`;
          const text = `${s}{${s}${[...before.map(write), blob, ...after.map(write)].join(`${s},${s}`)}${s}}${s}`;
          const expected = JSON.parse(text) as Record<string, unknown>;
          const body = await read(text, cuts, announce);
          expect(body.fault).toBeUndefined();
          expect(body.layerPart?.bytes.equals(part)).toBe(true);
          expect(body.layerPart?.crc32).toBe(crc32(part));
          expect({ ...(body.document as object), layerPartBlob: '' }).toEqual({
            ...expected,
            layerPartBlob: '',
          });
        },
      ),
      { numRuns: 400 },
    );
  });

  it('finds fault with exactly the bodies that a JSON parser and strict base64 find fault with', async () => {
    const alphabet = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      '\\',
      '/',
      'A',
      'Q',
      '=',
      '-',
      '_',
      ' ',
      '\n',
      '1',
      'é',
      '\u0000',
    );
    const noise = fc.string({ unit: alphabet, maxLength: 12 });
    const skeletons = [
      (x: string) => `{"layerPartBlob":"${x}"}`,
      (x: string) => `{"layerPartBlob":${x}}`,
      (x: string) => `{${x}"layerPartBlob":"AAAA"}`,
      (x: string) => `{"layerPartBlob":"AAAA"${x}`,
      (x: string) => `{"layerPartBlob":"AAAA"}${x}`,
      (x: string) => `{"a":${x},"layerPartBlob":"AAAA"}`,
      (x: string) => x,
    ];
    await fc.assert(
      fc.asyncProperty(
        noise,
        fc.constantFrom(...skeletons),
        fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 3 }),
        async (x, skeleton, cuts) => {
          const text = skeleton(x);
          const body = await read(text, cuts);
          let expected: unknown;
          try {
            expected = JSON.parse(text);
          } catch {
            expect(body.fault?.code).toBe('Serialization');
            return;
          }
          const blob =
            expected !== null && typeof expected === 'object'
              ? (expected as Record<string, unknown>)['layerPartBlob']
              : undefined;
          if (typeof blob !== 'string' || Array.isArray(expected)) {
            expect(body.fault).toBeUndefined();
            expect(body.document).toEqual(expected);
          } else if (/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(blob)) {
            expect(body.fault).toBeUndefined();
            expect(body.layerPart?.bytes).toEqual(Buffer.from(blob, 'base64'));
          } else expect(body.fault?.code).toBe('Serialization');
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('does not take a member of a nested object, or a text, for the part', async () => {
    const body = await read(
      '{"a":{"layerPartBlob":"AQID"},"b":["layerPartBlob",{"layerPartBlob":"x"}],"c":"\\"layerPartBlob\\":\\"AQID\\""}',
    );
    expect(body.fault).toBeUndefined();
    expect(body.layerPart).toBeUndefined();
    expect((body.document as { a: unknown }).a).toEqual({ layerPartBlob: 'AQID' });
  });

  it.each(['null', '5', 'true', '["AQID"]', '{"layerPartBlob":"AQID"}'])(
    'hands on a part that is %s for the constraints to refuse',
    async (value) => {
      const body = await read(`{"layerPartBlob":${value}}`);
      expect(body.fault).toBeUndefined();
      expect(body.layerPart).toBeUndefined();
      expect(body.document).toEqual({ layerPartBlob: JSON.parse(value) as unknown });
    },
  );

  it.each(['"AAAA","layerPartBlob":"AAAA"', '"AAAA","layerPartBlob":5', '5,"layerPartBlob":"AAAA"'])(
    'refuses a part given twice: %s',
    async (value) => {
      const body = await read(`{"layerPartBlob":${value}}`);
      expect(body.fault?.code).toBe('Serialization');
      expect(body.layerPart).toBeUndefined();
    },
  );

  it('refuses other members that are out of all proportion', async () => {
    const body = await read(`{"x":"${'a'.repeat(70_000)}","layerPartBlob":"AQID"}`, [16_384]);
    expect(body.fault?.code).toBe('RequestEntityTooLarge');
  });

  it('takes the largest part and not a byte more', async () => {
    const largest = Buffer.alloc(MAX_PART_BYTES, 0xff);
    const body = await read(`{"layerPartBlob":"${largest.toString('base64')}"}`, [65_536]);
    expect(body.layerPart?.bytes.equals(largest)).toBe(true);
    const over = await read(
      `{"layerPartBlob":"${Buffer.alloc(MAX_PART_BYTES + 1).toString('base64')}","uploadId":"u"}`,
      [65_536],
      false,
    );
    expect(over.fault?.message).toBe(
      "Invalid parameter at 'layerPartBlob' failed to satisfy constraint: 'must have length less than or equal to 20971520'",
    );
    expect(over.document).toMatchObject({ uploadId: 'u' });
  });

  it('leaves room for the largest part with every character escaped as a slash is', async () => {
    expect(MAX_PART_BODY_BYTES).toBeGreaterThan(Math.ceil(MAX_PART_BYTES / 3) * 4 * 2 + 64 * 1024);
    const part = Buffer.alloc(300_000, 0xff);
    const text = part.toString('base64').replaceAll('/', '\\/');
    expect((await read(`{"layerPartBlob":"${text}"}`, [65_535])).layerPart?.crc32).toBe(crc32(part));
  });

  it('refuses a body beyond every bound, announced or not', async () => {
    const budget = new ByteBudget(64 * 1024 * 1024);
    const endless = new Readable({ read() { this.push(Buffer.alloc(1024 * 1024, 0x20)); } }); // prettier-ignore
    const tooLarge = expect.objectContaining({ code: 'RequestEntityTooLarge' });
    await expect(readLayerPartBody(endless, MAX_PART_BODY_BYTES + 1, budget, never)).rejects.toEqual(
      tooLarge,
    );
    await expect(readLayerPartBody(endless, undefined, budget, never)).rejects.toEqual(tooLarge);
    expect(budget.heldBytes).toBe(0);
    expect(endless.destroyed).toBe(false);
  });

  it.each([
    ['ends', (stream: PassThrough) => stream.end()],
    ['fails', (stream: PassThrough) => stream.destroy(new Error('aborted'))],
    ['vanishes', (stream: PassThrough) => stream.destroy()],
  ])('gives everything back when a body %s early', async (_how, finish) => {
    const budget = new ByteBudget(64 * 1024 * 1024);
    const stream = new PassThrough();
    const reading = readLayerPartBody(stream, 100, budget, never);
    stream.write('{"layerPartBlob":"AAAA');
    setImmediate(() => finish(stream));
    await expect(reading).rejects.toMatchObject({ code: 'MalformedRequest' });
    expect(budget.heldBytes).toBe(0);
  });

  it('asks for memory once there is more than a little to read, and stops waiting for it when told to', async () => {
    const budget = new ByteBudget(1_000_000);
    const other = await budget.reserve(1_000_000);
    const stream = new PassThrough({ highWaterMark: 1_000_000 });
    const controller = new AbortController();
    const reading = readLayerPartBody(stream, 400_000, budget, controller.signal);
    stream.write(`{"layerPartBlob":"${'A'.repeat(40_000)}`);
    await turn();
    expect(budget.waitingRequests).toBe(0);
    stream.write('A'.repeat(40_000));
    stream.write('A'.repeat(40_000));
    await turn();
    expect(budget.waitingRequests).toBe(1);
    expect(stream.readableLength).toBe(40_000);
    controller.abort(new RegistryError('RequestTimeout', 'silence'));
    await expect(reading).rejects.toMatchObject({ code: 'RequestTimeout' });
    other.release();
    await turn();
    expect([budget.heldBytes, budget.waitingRequests]).toEqual([0, 0]);
    expect(stream.destroyed).toBe(false);
  });

  it('takes a part whose last byte came while it waited for memory', async () => {
    const budget = new ByteBudget(1_000_000);
    const other = await budget.reserve(1_000_000);
    const part = Buffer.alloc(300_000, 7);
    const text = `{"layerPartBlob":"${part.toString('base64')}"}`;
    const stream = Readable.from([Buffer.from(text)], { objectMode: false });
    const reading = readLayerPartBody(stream, text.length, budget, never);
    await turn();
    await turn();
    expect(budget.waitingRequests).toBe(1);
    other.release();
    const { body, reservation } = await reading;
    expect(body.layerPart?.bytes.equals(part)).toBe(true);
    expect(reservation?.bytes).toBe(part.length);
  });
});
