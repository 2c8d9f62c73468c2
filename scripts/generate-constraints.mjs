/**
 * Writes src/protocols/ecr/ecr-constraints.generated.ts: what the API model demands of every input, as plain data.
 *
 *   node scripts/generate-constraints.mjs <service model>
 *
 * The model is the JSON file of the service in the form botocore publishes (`service-2.json`). The SDK's own schemas lack
 * required members, lengths, ranges, patterns and enums, so they are kept here, checked in, and change only on purpose.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const TARGET = fileURLToPath(new URL('../src/protocols/ecr/ecr-constraints.generated.ts', import.meta.url));

const [modelPath] = process.argv.slice(2);
if (!modelPath) {
  console.error('usage: node scripts/generate-constraints.mjs <service model>');
  process.exit(2);
}
const model = JSON.parse(readFileSync(modelPath, 'utf8'));

const needed = new Set();
for (const operation of Object.values(model.operations)) if (operation.input) collect(operation.input.shape);

const inputs = Object.entries(model.operations)
  .filter(([, operation]) => operation.input)
  .map(([name, operation]) => [name, operation.input.shape])
  .toSorted(byName);
const shapes = [...needed].map((name) => [name, describe(model.shapes[name])]).toSorted(byName);

writeFileSync(
  TARGET,
  [
    `// Written by scripts/generate-constraints.mjs from the API model ${model.metadata.uid}. Do not edit.`,
    `import type { Shape } from './shape.js';`,
    '',
    '/** The input shape of every operation. */',
    `export const INPUTS: Readonly<Record<string, string>> = ${JSON.stringify(Object.fromEntries(inputs), null, 2)};`,
    '',
    '/** Every shape an input is made of. */',
    'export const SHAPES: Readonly<Record<string, Shape>> = {',
    ...shapes.map(([name, shape]) => `  ${name}: ${JSON.stringify(shape)},`),
    '};',
    '',
  ].join('\n'),
);
console.log(`${inputs.length} inputs, ${shapes.length} shapes`);

function collect(name) {
  if (needed.has(name)) return;
  needed.add(name);
  const shape = model.shapes[name];
  for (const member of Object.values(shape.members ?? {})) collect(member.shape);
  for (const part of [shape.member, shape.key, shape.value]) if (part) collect(part.shape);
}

function describe(shape) {
  const bounds = pick(shape, ['min', 'max']);
  switch (shape.type) {
    case 'structure': {
      const members = Object.entries(shape.members ?? {}).map(([name, member]) => [name, member.shape]);
      return { type: 'structure', required: shape.required ?? [], members: Object.fromEntries(members) };
    }
    case 'list':
      return { type: 'list', member: shape.member.shape, ...bounds };
    case 'map':
      return { type: 'map', key: shape.key.shape, value: shape.value.shape, ...bounds };
    case 'string':
      return { type: 'string', ...bounds, ...pick(shape, ['pattern', 'enum']) };
    case 'integer':
    case 'long':
    case 'float':
    case 'double':
      return { type: shape.type, ...bounds };
    case 'blob':
      return { type: 'blob', ...bounds };
    case 'boolean':
    case 'timestamp':
      return { type: shape.type };
    default:
      throw new Error(`The model has a shape of type ${shape.type}, which the constraints do not cover`);
  }
}

function pick(shape, names) {
  return Object.fromEntries(
    names.filter((name) => shape[name] !== undefined).map((name) => [name, shape[name]]),
  );
}

function byName([a], [b]) {
  return a < b ? -1 : 1;
}
