import { describe, expect, it } from '@jest/globals';
import { RequestContext } from '../request-context.js';
import { ArnPattern, hasVariableBeforeResource, splitArn } from './arn-pattern.js';
import { templateParts } from './template.js';

const context = new RequestContext({ 'aws:PrincipalAccount': '111111111111', 'aws:PrincipalTag/a': 'x:y' });

function matches(pattern: string, arn: string, open = false): boolean | null {
  const parts = templateParts(pattern, { variables: true, wildcards: true })!;
  return new ArnPattern(parts, { open }).matches(splitArn(arn)!, context);
}

const APP = 'arn:aws:ecr:us-east-1:111111111111:repository/app';

describe('ARN patterns', () => {
  it.each([
    [APP, true],
    ['arn:aws:ecr:*:*:repository/a*', true],
    ['arn:*:ecr:us-?ast-1:111111111111:*', true],
    ['arn:aws:ecr:us-east-1:${aws:PrincipalAccount}:repository/app', true],
    ['arn:aws:ecr:us-east-1:111111111111:repository/APP', false],
    ['arn:aws:ecr:us-east-1:*', false],
    ['*', false],
    ['arn:aws:ecr:us-east-1:${aws:userid}:repository/app', null],
  ])('%s matches the repository: %s', (pattern, expected) => {
    expect(matches(pattern, APP)).toBe(expected);
  });

  it('do not reach over a colon, but in the last segment', () => {
    const store = 'arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt';
    expect(matches('arn:aws:someservice:*:111122223333:finance/*', store)).toBe(false);
    expect(matches('arn:aws:someservice:*:999999999999:store/*.txt', store)).toBe(true);
  });

  it('take colons in the value of a variable for text', () => {
    expect(matches('arn:aws:ecr:us-east-1:1:${aws:PrincipalTag/a}', 'arn:aws:ecr:us-east-1:1:x:y')).toBe(
      true,
    );
    expect(matches('arn:aws:ecr:${aws:PrincipalTag/a}:1', 'arn:aws:ecr:x:y:1')).toBe(false);
  });

  it.each([
    ['arn:aws:ecr:*', true],
    ['arn:aws:ecr:us-east-1*', true],
    ['arn:aws:ecr:*:repository/app', false],
    ['arn:aws:s3:*', false],
    ['arn:aws:ecr', false],
  ])('as resources, %s goes on with its last star: %s', (pattern, expected) => {
    expect(matches(pattern, APP, true)).toBe(expected);
  });

  it('know a variable that stands where IAM has none', () => {
    const at = (text: string) =>
      hasVariableBeforeResource(templateParts(text, { variables: true, wildcards: true })!);
    expect(at('arn:aws:ecr:${aws:RequestedRegion}:1:repository/x')).toBe(true);
    expect(at('arn:aws:ecr:us-east-1:1:repository/${aws:username}')).toBe(false);
  });

  it.each(['', '*', 'arn:aws:ecr:us-east-1:111111111111', 'urn:a:b:c:d:e'])('"%s" is no ARN', (text) => {
    expect(splitArn(text)).toBeNull();
  });
});
