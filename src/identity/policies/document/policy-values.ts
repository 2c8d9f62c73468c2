import type { JsonNode } from './policy-json.js';
import { PolicySyntaxError } from './policy-syntax-error.js';

/** @throws PolicySyntaxError when the value is no object */
export function object(node: JsonNode, place: string): ReadonlyMap<string, JsonNode> {
  if (node.type !== 'object') throw PolicySyntaxError.grammar(`${place} must be an object.`);
  return node.members;
}

/** @throws PolicySyntaxError when the value is no string */
export function stringOf(node: JsonNode, place: string): string {
  if (node.type !== 'string') throw PolicySyntaxError.grammar(`${place} must be a string.`);
  return node.value;
}

/** @returns the strings of a list, or the one that stands for a list of one; @throws PolicySyntaxError */
export function strings(node: JsonNode, place: string): string[] {
  const nodes = node.type === 'array' ? node.items : [node];
  return nodes.map((item) => {
    if (item.type !== 'string')
      throw PolicySyntaxError.grammar(`${place} must be a string or a list of strings.`);
    return item.value;
  });
}

/** Values of conditions may be written as numbers and booleans. @throws PolicySyntaxError */
export function scalars(node: JsonNode, place: string): string[] {
  const nodes = node.type === 'array' ? node.items : [node];
  return nodes.map((item) => {
    if (item.type === 'string' || item.type === 'number' || item.type === 'boolean') return item.value;
    throw PolicySyntaxError.grammar(`${place} must be a string, a number, a boolean or a list of those.`);
  });
}
