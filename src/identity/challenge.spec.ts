import { describe, expect, it } from '@jest/globals';
import { challenge } from './challenge.js';

describe('challenge of the OCI door', () => {
  it.each([
    ['http://localhost:5160', 'http://localhost:5160/'],
    ['https://registry.internal/', 'https://registry.internal/'],
    ['https://registry.internal/"quoted"', 'https://registry.internal/%22quoted%22/'],
  ])('names %s as the realm %s', (publicUrl, realm) => {
    expect(challenge(publicUrl)).toBe(`Basic realm="${realm}",service="ecr.amazonaws.com"`);
  });
});
