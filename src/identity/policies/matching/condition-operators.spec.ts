import { describe, expect, it } from '@jest/globals';
import {
  AddressRanges,
  binaryOf,
  boolOf,
  CONDITION_OPERATORS,
  dateOf,
  numberOf,
} from './condition-operators.js';

describe('condition operators', () => {
  it('are those of the language', () => {
    expect([...CONDITION_OPERATORS.keys()].sort()).toEqual(
      [
        'ArnEquals ArnLike ArnNotEquals ArnNotLike BinaryEquals Bool',
        'DateEquals DateGreaterThan DateGreaterThanEquals DateLessThan DateLessThanEquals DateNotEquals',
        'IpAddress NotIpAddress Null',
        'NumericEquals NumericGreaterThan NumericGreaterThanEquals NumericLessThan NumericLessThanEquals NumericNotEquals',
        'StringEquals StringEqualsIgnoreCase StringLike StringNotEquals StringNotEqualsIgnoreCase StringNotLike',
      ]
        .join(' ')
        .split(' ')
        .sort(),
    );
  });

  it.each([
    ['5', 5],
    ['-0.5', -0.5],
    ['+7.', 7],
    ['.25', 0.25],
  ])('read the number %s', (text, expected) => expect(numberOf(text)).toBe(expected));

  it.each(['', ' 5', '5 ', '0x10', '1e3', 'Infinity', 'NaN', '1,5', '--1'])(
    'find no number in "%s"',
    (text) => {
      expect(numberOf(text)).toBeNaN();
    },
  );

  it.each([
    ['2026', '2026-01-01T00:00:00Z'],
    ['2026-05', '2026-05-01T00:00:00Z'],
    ['2026-05-06', '2026-05-06T00:00:00Z'],
    ['2026-05-06T07:08Z', '2026-05-06T07:08:00Z'],
    ['2026-05-06T07:08:09', '2026-05-06T07:08:09Z'],
    ['2026-05-06T07:08:09.25+02:00', '2026-05-06T05:08:09.250Z'],
    ['1780000000', '2026-05-28T20:26:40Z'],
    ['-1', '1969-12-31T23:59:59Z'],
  ])('read the date %s', (text, iso) => expect(dateOf(text)).toBe(Date.parse(iso)));

  it.each([
    '',
    'yesterday',
    '2026-13-01',
    '2026-05-06T07:08:09 Z',
    '2026-05-06T07:08:09+0200',
    '05/06/2026',
    '1e9',
  ])('find no date in "%s"', (text) => expect(dateOf(text)).toBeNaN());

  it('read booleans in any case, and nothing else as one', () => {
    expect([boolOf('true'), boolOf('FALSE'), boolOf('1'), boolOf('')]).toEqual([true, false, null, null]);
  });

  it('read base64 as bytes', () => {
    expect(binaryOf('QUJ=')).toBe('QUI=');
    expect(binaryOf('QUI')).toBeNull();
    expect(binaryOf('Q*I=')).toBeNull();
  });
});

describe('address ranges', () => {
  const holds = (range: string, address: string): boolean => {
    const ranges = new AddressRanges();
    expect(ranges.add(range)).toBe(true);
    return ranges.has(address);
  };

  it.each([
    ['203.0.113.0/24', '203.0.113.255', true],
    ['203.0.113.0/24', '203.0.114.0', false],
    ['203.0.113.77/24', '203.0.113.1', true],
    ['203.0.113.9', '203.0.113.9', true],
    ['203.0.113.9', '203.0.113.10', false],
    ['203.0.113.9/31', '203.0.113.8', true],
    ['0.0.0.0/0', '198.51.100.1', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '198.51.100.1', false],
    ['2001:DB8:1234:5678::/64', '2001:db8:1234:5678:ffff::', true],
    ['2001:db8:1234:5678::/64', '2001:db8:1234:5679::', false],
    ['2001:db8::1', '2001:db8:0:0:0:0:0:1', true],
    ['203.0.113.0/24', '::ffff:203.0.113.1', true],
    ['203.0.113.0/24', '::FFFF:203.0.114.1', false],
    ['203.0.113.0/24', 'unknown', false],
  ])('%s holds %s: %s', (range, address, expected) => expect(holds(range, address)).toBe(expected));

  it.each([
    '',
    '203.0.113.0/33',
    '203.0.113/24',
    '203.0.113.0/',
    '::/129',
    'fe80::1%eth0',
    '10.0.0.0/8/8',
    'all',
  ])('"%s" is none', (range) => expect(new AddressRanges().add(range)).toBe(false));
});
