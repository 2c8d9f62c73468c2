import { describe, expect, it } from '@jest/globals';
import { RequestContext } from '../request-context.js';
import { templateParts, WildcardTemplate } from './template.js';

const context = new RequestContext({
  'aws:username': 'ann',
  'aws:PrincipalTag/Cost Center': 'star*',
  'aws:TagKeys': ['one', 'two'],
});
const OPTIONS = { variables: true, wildcards: true };

function matches(pattern: string, text: string, options = OPTIONS): boolean | null {
  const parts = templateParts(pattern, options);
  if (parts === null) throw new Error('not a template');
  return new WildcardTemplate(parts).matches(text, context);
}

describe('policy variables', () => {
  it.each([
    ['home/${aws:username}/*', 'home/ann/x', true],
    ['home/${AWS:UserName}', 'home/ann', true],
    ['${aws:username}${aws:username}', 'annann', true],
    ["${aws:userid, 'nobody'}", 'nobody', true],
    ["${ aws:userid , 'no}body' }", 'no}body', true],
    ["${aws:username, 'nobody'}", 'ann', true],
    ["${aws:userid, ''}", '', true],
    ['${aws:principaltag/cost center}', 'star*', true],
    ['a${*}', 'a*', true],
    ['a${*}', 'ab', false],
    ['a${?}${$}', 'a?$', true],
    ['$', '$', true],
    ['$$${$}{', '$$${', true],
  ])('%s matches "%s": %s', (pattern, text, expected) => {
    expect(matches(pattern, text)).toBe(expected);
  });

  it('bring no wildcards in with their values', () => {
    expect(matches('${aws:PrincipalTag/Cost Center}', 'starlight')).toBe(false);
  });

  it('are unresolved without a value, and with several', () => {
    expect(matches('${aws:userid}', 'ann')).toBeNull();
    expect(matches('${aws:TagKeys}', 'one')).toBeNull();
  });

  it('are plain text where the version has none', () => {
    expect(matches('${aws:username}', '${aws:username}', { ...OPTIONS, variables: false })).toBe(true);
    expect(matches('${*}', '${xyz}', { ...OPTIONS, variables: false })).toBe(true);
  });

  it.each([
    '${',
    '${}',
    '${aws:username',
    'x${aws:username}${',
    '${username}',
    '${:x}',
    '${aws:}',
    '${aws:username, nobody}',
    "${aws:username, 'a', 'b'}",
    "${aws:username, 'a}",
    '${aws:${aws:username}}',
    "${'}",
  ])('are refused when written as %s', (text) => {
    expect(templateParts(text, OPTIONS)).toBeNull();
  });

  it.each(['${', "${aws:a, '", '${a:', "${'}", '${a:b}'])(
    'are read in one go, however many %s follow each other',
    (piece) => {
      templateParts(piece.repeat(30_000), OPTIONS);
      templateParts(`\${aws:a${' '.repeat(100_000)}'}`, OPTIONS);
    },
  );
});
