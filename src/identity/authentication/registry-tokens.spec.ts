import { describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../config/config.js';
import type { Caller } from '../caller.js';
import { rootArn } from '../keys/access-keys.js';
import { RootKey } from '../keys/root-key.js';
import { RegistryTokens } from './registry-tokens.js';

const SECRET = '0123456789abcdefghijklmnopqrstuvwxyzABCD';
const CALLER: Caller = {
  principal: { arn: rootArn('123456789012'), accountId: '123456789012', accessKeyId: 'STOWABCDEFGH' },
  region: 'eu-west-1',
};
const NOW = new Date('2026-03-04T05:06:07.890Z');
const HOUR = 3_600_000;

function registryTokens(secret = SECRET, hours = '12'): RegistryTokens {
  return new RegistryTokens(new RootKey('STOWABCDEFGH', secret), loadConfig({ STOWAGE_TOKEN_HOURS: hours }));
}

describe('login tokens', () => {
  it('give back the caller they were issued to, in any process with the same secret', () => {
    expect(registryTokens().verify(registryTokens().issue(CALLER, NOW).password, NOW)).toEqual(CALLER);
  });

  it('are short and survive every way passwords travel', () => {
    expect(registryTokens().issue(CALLER).password).toMatch(/^[A-Za-z0-9_-]{1,1024}$/);
  });

  it('tell nothing of the caller', () => {
    const bytes = Buffer.from(registryTokens().issue(CALLER).password, 'base64url').toString('latin1');
    expect(bytes).not.toMatch(/123456789012|STOW|eu-west-1|root/);
  });

  it('are never the same twice', () => {
    const tokens = registryTokens();
    expect(tokens.issue(CALLER, NOW).password).not.toBe(tokens.issue(CALLER, NOW).password);
  });

  it('live as long as configured and say so in whole seconds', () => {
    const { password, expiresAt } = registryTokens().issue(CALLER, NOW);
    expect(expiresAt).toEqual(new Date('2026-03-04T17:06:07Z'));
    expect(registryTokens().verify(password, new Date(expiresAt.getTime() - 1))).toEqual(CALLER);
    const short = registryTokens(SECRET, '0.5').issue(CALLER, NOW);
    expect(short.expiresAt).toEqual(new Date('2026-03-04T05:36:07Z'));
  });

  it('are refused once expired, with the text that tells clients to log in again', () => {
    const { password, expiresAt } = registryTokens().issue(CALLER, NOW);
    for (const later of [expiresAt, new Date(expiresAt.getTime() + 1000 * HOUR)]) {
      expect(() => registryTokens().verify(password, later)).toThrow(
        expect.objectContaining({
          code: 'AccessDenied',
          message: 'Your authorization token has expired. Reauthenticate and try again.',
        }),
      );
    }
  });

  it('are refused when any single bit was changed', () => {
    const tokens = registryTokens();
    const { password } = tokens.issue(CALLER, NOW);
    for (let index = 0; index < password.length; index++) {
      for (let bit = 0; bit < 7; bit++) {
        const character = String.fromCharCode(password.charCodeAt(index) ^ (1 << bit));
        const changed = password.slice(0, index) + character + password.slice(index + 1);
        expect(() => tokens.verify(changed, NOW)).toThrow(
          expect.objectContaining({ code: 'UnrecognizedClient' }),
        );
      }
    }
  });

  it('are refused when shortened, lengthened, respelled or garbage', () => {
    const tokens = registryTokens();
    const { password } = tokens.issue(CALLER, NOW);
    const standard = Buffer.from(password, 'base64url').toString('base64');
    const texts = [password.slice(1), password.slice(0, -1), `${password}A`, `${password}=`, `${password}\n`];
    for (const text of [...texts, ...(standard === password ? [] : [standard]), '', 'x', 'A'.repeat(5000)]) {
      expect(() => tokens.verify(text, NOW)).toThrow(expect.objectContaining({ code: 'UnrecognizedClient' }));
    }
  });

  it('are refused by a registry with another secret', () => {
    const { password } = registryTokens('another secret of more than thirty-two characters').issue(
      CALLER,
      NOW,
    );
    expect(() => registryTokens().verify(password, NOW)).toThrow(
      expect.objectContaining({ code: 'UnrecognizedClient' }),
    );
  });
});
