import { isPlainText } from '../../domain/plain-text.js';
import { RegistryError } from '../../domain/registry-error.js';
import { SHAPES } from './ecr-constraints.generated.js';
import type { Shape } from './shape.js';

/**
 * Reads a JSON value as a value of the shape, as awsJson 1.1 has it: members the model lacks are dropped, a null member is
 * an absent one, bytes are base64 text.
 * @returns a copy; lists may hold null, which the constraints refuse
 * @throws RegistryError Serialization when the JSON type is not the shape's
 */
export function readValue(shapeName: string, value: unknown): unknown {
  const shape = SHAPES[shapeName]!;
  switch (shape.type) {
    case 'structure':
      return readStructure(shape, value);
    case 'list':
      if (!Array.isArray(value)) throw unexpected(value, 'List');
      return value.map((item: unknown) => (item === null ? null : readValue(shape.member, item)));
    case 'map':
      return readMap(shape, value);
    case 'string':
      if (typeof value !== 'string') throw unexpected(value, 'String');
      if (!isPlainText(value)) throw serialization('A string must not hold NUL or unpaired surrogates');
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') throw unexpected(value, 'Boolean');
      return value;
    case 'blob':
      return readBlob(value);
    case 'timestamp':
      if (typeof value !== 'number') throw unexpected(value, 'Timestamp');
      return new Date(value * 1000);
    case 'integer':
    case 'long':
    case 'float':
    case 'double':
      return readNumber(shape.type, value);
  }
}

/** @throws RegistryError Serialization unless the text is base64 of the standard alphabet with its padding */
export function decodeBase64(text: string): Buffer {
  // Node skips what it does not know and reads the URL alphabet too, so strictness is checked by shape first.
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw notBase64();
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== (text.length / 4) * 3 - paddingOf(text)) throw notBase64();
  return bytes;
}

export function notBase64(): RegistryError {
  return serialization('The value of a blob member is not valid base64');
}

export function serialization(message: string): RegistryError {
  return new RegistryError('Serialization', message);
}

function paddingOf(text: string): number {
  if (text.endsWith('==')) return 2;
  return text.endsWith('=') ? 1 : 0;
}

function readStructure(shape: Shape & { type: 'structure' }, value: unknown): Record<string, unknown> {
  if (!isObject(value)) throw unexpected(value, 'Structure');
  const read: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(shape.members)) {
    // Own members only: a document may carry any name, those of Object.prototype included.
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    if (given !== undefined && given !== null) read[name] = readValue(member, given);
  }
  return read;
}

function readMap(shape: Shape & { type: 'map' }, value: unknown): Map<string, unknown> {
  if (!isObject(value)) throw unexpected(value, 'Map');
  return new Map(
    Object.entries(value).map(([key, item]) => [key, item === null ? null : readValue(shape.value, item)]),
  );
}

function readBlob(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== 'string') throw unexpected(value, 'Blob');
  return decodeBase64(value);
}

function readNumber(type: 'integer' | 'long' | 'float' | 'double', value: unknown): number {
  if (typeof value !== 'number') throw unexpected(value, capital(type));
  if (type === 'float' || type === 'double') return value;
  const inside = type === 'integer' ? value === (value | 0) : Number.isSafeInteger(value);
  if (!inside) throw serialization(`${value} can not be converted to ${capital(type)}`);
  // -0 and 0 are one integer.
  return value + 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}

function unexpected(value: unknown, wanted: string): RegistryError {
  if (Array.isArray(value)) return serialization('Start of list found where not expected');
  if (typeof value === 'object' && value !== null)
    return serialization('Start of structure or map found where not expected.');
  const kind =
    value === null
      ? 'NULL'
      : typeof value === 'boolean'
        ? String(value).toUpperCase()
        : (typeof value).toUpperCase();
  return serialization(`${kind}_VALUE can not be converted to ${wanted}`);
}

function capital(word: string): string {
  return word[0]!.toUpperCase() + word.slice(1);
}
