import { describe, expect, it } from '@jest/globals';
import { RootKey } from './keys/root-key.js';
import { PageTokens } from './page-tokens.js';

const SECRET = '0123456789abcdefghijklmnopqrstuvwxyzABCD';
const tokens = new PageTokens(new RootKey('STOWABCDEFGH', SECRET));
const SCOPE = 'ListImages 000000000000 team/app TAGGED';
const REFUSAL = {
  code: 'InvalidParameter',
  message: expect.stringMatching(/^Invalid parameter at 'nextToken' failed to satisfy constraint: '.+'$/),
};

describe('page tokens', () => {
  it.each(['team/app', 42, null, ['a', 1], { pushedAt: '2026-03-04T05:06:07Z', id: '7' }])(
    'give back the key %j',
    (key) => expect(tokens.open(SCOPE, tokens.seal(SCOPE, key))).toEqual(key),
  );

  it('keep the key to themselves', () => {
    const bytes = Buffer.from(tokens.seal(SCOPE, 'team/secret-project'), 'base64url').toString('latin1');
    expect(bytes).not.toContain('secret');
  });

  it('open in no other listing', () => {
    const token = tokens.seal(SCOPE, 'key');
    for (const scope of ['', 'ListImages', SCOPE.replace('app', 'api'), `${SCOPE} `]) {
      expect(() => tokens.open(scope, token)).toThrow(expect.objectContaining(REFUSAL));
    }
  });

  it('are refused when changed, garbage or of another registry', () => {
    const token = tokens.seal(SCOPE, 'key');
    const other = new PageTokens(new RootKey('STOWABCDEFGH', `${SECRET}x`)).seal(SCOPE, 'key');
    const changed = Array.from(token, (character, index) => {
      const another = character === 'A' ? 'B' : 'A';
      return token.slice(0, index) + another + token.slice(index + 1);
    });
    for (const text of [...changed, other, '', 'x', `${token}A`, `${token}=`, token.slice(0, -1)]) {
      expect(() => tokens.open(SCOPE, text)).toThrow(expect.objectContaining(REFUSAL));
    }
  });
});
