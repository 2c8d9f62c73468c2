import { expect, it } from '@jest/globals';
import { parsePolicyDocument } from './policy-document.js';
import { textPosition } from './text-position.js';

it('the place of a statement is told in lines and columns from 1, its end behind the brace', () => {
  const text = `{
  "Version": "2012-10-17",
  "Statement": {
    "Effect": "Allow", "Action": "*",
    "Resource": "*"
  }
}`;
  const { range } = parsePolicyDocument(text, 'identity').statements[0]!;
  expect(textPosition(text, range.start)).toEqual({ line: 3, column: 16 });
  expect(textPosition(text, range.end)).toEqual({ line: 6, column: 4 });
});
