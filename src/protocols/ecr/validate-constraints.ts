import { RE2JS } from 're2js';
import { RegistryError } from '../../domain/registry-error.js';
import { INPUTS, SHAPES } from './ecr-constraints.generated.js';
import { phraseOf } from './constraint-phrases.js';
import type { OperationName } from './operation-names.js';
import { readValue } from './read-input.js';
import type { Shape, StringShape } from './shape.js';

/** Rules of the service that its API model does not declare, by operation and member. */
const SERVICE_RULES: Partial<Record<OperationName, Readonly<Record<string, StringShape>>>> = {
  PutImage: { imageTag: { type: 'string', pattern: '[a-zA-Z0-9-_.]+' } },
};

/**
 * Batch operations report a malformed identifier beside the others, in `failures`, so it must not fail the request.
 * Layer digests of BatchCheckLayerAvailability have a shape of their own in the model, without a pattern.
 */
const REPORTED_PER_ITEM: Partial<Record<OperationName, ReadonlySet<string>>> = {
  BatchGetImage: new Set(['ImageTag', 'ImageDigest']),
  BatchDeleteImage: new Set(['ImageTag', 'ImageDigest']),
};

/**
 * Checks an input against the API model: JSON types everywhere first, then required members, lengths, ranges, enums and
 * patterns in the order of the model. The first failure is the one reported.
 * @param document the parsed JSON; a blob may stand there already decoded
 * @returns the input with only the members the model knows
 * @throws RegistryError Serialization or InvalidParameter
 */
export function validateInput(operation: OperationName, document: unknown): unknown {
  const shapeName = INPUTS[operation]!;
  const input = readValue(shapeName, document) as Readonly<Record<string, unknown>>;
  new ConstraintWalk(REPORTED_PER_ITEM[operation] ?? new Set()).check(shapeName, input, '');
  for (const [member, shape] of Object.entries(SERVICE_RULES[operation] ?? {})) {
    const value = input[member];
    if (typeof value === 'string') checkString(shape, value, member, 'ImageTag');
  }
  return input;
}

class ConstraintWalk {
  constructor(private readonly exempt: ReadonlySet<string>) {}

  /** @param path member names from the input down, joined by dots; positions in lists are not told */
  check(shapeName: string, value: unknown, path: string): void {
    if (this.exempt.has(shapeName)) return;
    const shape = SHAPES[shapeName]!;
    switch (shape.type) {
      case 'structure':
        return this.checkStructure(shape, value as Record<string, unknown>, path);
      case 'list':
        checkLength(shape, (value as unknown[]).length, path, shapeName);
        for (const item of value as unknown[]) this.checkItem(shape.member, item, path);
        return;
      case 'map':
        checkLength(shape, (value as Map<string, unknown>).size, path, shapeName);
        for (const [key, item] of value as Map<string, unknown>) {
          this.check(shape.key, key, path);
          this.checkItem(shape.value, item, path);
        }
        return;
      case 'string':
        return checkString(shape, value as string, path, shapeName);
      case 'blob':
        return checkLength(shape, (value as Uint8Array).length, path, shapeName);
      case 'boolean':
      case 'timestamp':
        return;
      case 'integer':
      case 'long':
      case 'float':
      case 'double':
        return checkRange(shape, value as number, path, shapeName);
    }
  }

  private checkStructure(
    shape: Shape & { type: 'structure' },
    value: Record<string, unknown>,
    path: string,
  ): void {
    for (const [name, member] of Object.entries(shape.members)) {
      const memberPath = path === '' ? name : `${path}.${name}`;
      if (value[name] !== undefined) this.check(member, value[name], memberPath);
      else if (shape.required.includes(name)) throw refuse(memberPath, phraseOf.absent());
    }
  }

  private checkItem(shapeName: string, item: unknown, path: string): void {
    if (item === null) throw refuse(path, phraseOf.absent());
    this.check(shapeName, item, path);
  }
}

interface Bounds {
  min?: number;
  max?: number;
}

function checkLength({ min, max }: Bounds, length: number, path: string, shapeName: string): void {
  if (min !== undefined && length < min) throw refuse(path, phraseOf.tooShort(shapeName, min));
  if (max !== undefined && length > max) throw refuse(path, phraseOf.tooLong(shapeName, max));
}

function checkRange({ min, max }: Bounds, value: number, path: string, shapeName: string): void {
  if (min !== undefined && value < min) throw refuse(path, phraseOf.tooSmall(shapeName, min));
  if (max !== undefined && value > max) throw refuse(path, phraseOf.tooLarge(shapeName, max));
}

/** Lengths before patterns, so that no pattern ever runs over a text longer than its shape allows. */
function checkString(shape: StringShape, value: string, path: string, shapeName: string): void {
  checkLength(shape, value.length, path, shapeName);
  if (shape.enum && !shape.enum.includes(value))
    throw refuse(path, phraseOf.notInEnum(shapeName, shape.enum));
  if (shape.pattern !== undefined && !matches(shape.pattern, value)) {
    throw refuse(path, phraseOf.mismatch(shapeName, shape.pattern));
  }
}

const compiled = new Map<string, RE2JS>();

/**
 * Whether the whole value matches. Run on an engine whose time is linear in the value, because some patterns of the model
 * backtrack exponentially in JavaScript's: 28 characters of a scanning filter took two minutes there.
 */
export function matches(pattern: string, value: string): boolean {
  let expression = compiled.get(pattern);
  if (!expression) compiled.set(pattern, (expression = RE2JS.compile(pattern)));
  return expression.matches(value);
}

function refuse(path: string, constraint: string): RegistryError {
  return RegistryError.invalidParameter(path, constraint);
}
