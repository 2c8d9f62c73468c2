import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type JsonNode, readPolicyJson } from './policy-json.js';

function valueOf(node: JsonNode): unknown {
  switch (node.type) {
    case 'object':
      return Object.fromEntries([...node.members].map(([name, member]) => [name, valueOf(member)]));
    case 'array':
      return node.items.map(valueOf);
    case 'string':
      return node.value;
    case 'number':
    case 'boolean':
    case 'null':
      return JSON.parse(node.value);
  }
}

describe('JSON of a policy', () => {
  it('is read as JSON.parse reads it, spaced or not', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 6 }),
        fc.constantFrom(undefined, 1, '\t', '\r\n  '),
        (value, space) => {
          const text = JSON.stringify(value, null, space);
          expect(valueOf(readPolicyJson(text))).toEqual(JSON.parse(text));
        },
      ),
    );
  });

  it('tells where every value stands', () => {
    const text = ' { "a" : [ 12.50 , {"b":"x\\"}"} ] , "c": true } ';
    const root = readPolicyJson(text) as Extract<JsonNode, { type: 'object' }>;
    const slice = ({ start, end }: JsonNode) => text.slice(start, end);
    const list = root.members.get('a') as Extract<JsonNode, { type: 'array' }>;
    expect(slice(root)).toBe(text.trim());
    expect(list.items.map(slice)).toEqual(['12.50', '{"b":"x\\"}"}']);
    expect(list.items[0]).toMatchObject({ type: 'number', value: '12.50' });
    expect(slice(root.members.get('c')!)).toBe('true');
  });

  it.each(['', ' ', '{', '{"a":1,}', "{'a':1}", '{"a":1} x', '{"a":1}//', '\u00a0{}', '{"a":01}', '["\n"]'])(
    'is not %j',
    (text) =>
      expect(() => readPolicyJson(text)).toThrow('Syntax errors in policy. The text is not valid JSON.'),
  );

  it.each(['{"a":1,"a":1}', '{"x":[{"b":1,"\\u0062":2}]}', '{"__proto__":1,"__proto__":2}'])(
    'has no name twice, as %s has',
    (text) => expect(() => readPolicyJson(text)).toThrow(/The member ".*" is there twice/),
  );

  it('keeps names that objects have of their own apart from them', () => {
    const root = readPolicyJson('{"__proto__":{"Effect":"Allow"},"constructor":1}');
    expect(root.type === 'object' && [...root.members.keys()]).toEqual(['__proto__', 'constructor']);
    expect(({} as Record<string, unknown>)['Effect']).toBeUndefined();
  });

  it.each(['[', '{"a":'])('is refused when %s goes on for a hundred thousand levels', (bracket) => {
    const close = bracket === '[' ? ']' : '}';
    const text = `${bracket.repeat(100_000)}1${close.repeat(100_000)}`;
    expect(() => readPolicyJson(text)).toThrow('nested too deeply');
  });
});
