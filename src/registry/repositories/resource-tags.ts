import { RegistryError } from '../../domain/registry-error.js';
import type { Tag } from './repository.js';

/** ECR's quotas for resource tags. */
const MAX_TAGS = 50;
const MAX_KEY = 128;
const MAX_VALUE = 256;
const ALLOWED = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

/** @throws RegistryError InvalidTagParameter for a malformed, reserved or repeated key */
export function assertTags(tags: Tag[]): void {
  const keys = new Set<string>();
  for (const { key, value } of tags) {
    assertTagKey(key);
    if (value.length > MAX_VALUE || !ALLOWED.test(value)) throw invalid(`the value of '${key}' is not valid`);
    if (keys.has(key)) throw invalid(`the key '${key}' is given more than once`);
    keys.add(key);
  }
}

/** @throws RegistryError InvalidTagParameter */
export function assertTagKey(key: string): void {
  if (key.length < 1 || key.length > MAX_KEY || !ALLOWED.test(key)) throw invalid('a key is not valid');
  if (key.toLowerCase().startsWith('aws:')) throw invalid(`the prefix of '${key}' is reserved`);
}

/** @throws RegistryError TooManyTags */
export function assertTagCount(count: number): void {
  if (count > MAX_TAGS)
    throw new RegistryError(
      'TooManyTags',
      `The number of tags exceeds the maximum of ${MAX_TAGS} per resource`,
    );
}

function invalid(why: string): RegistryError {
  return new RegistryError('InvalidTagParameter', `Tag parameters are invalid: ${why}`);
}
