import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** What the values of an operator are, and so how they are written and compared. */
export type OperandType =
  'string' | 'pattern' | 'arn' | 'numeric' | 'date' | 'bool' | 'binary' | 'ip' | 'null';

export interface ConditionOperator {
  operand: OperandType;
  /** True where none of the values may compare. */
  negated: boolean;
  ignoreCase?: boolean;
  /** For numbers and dates: whether a value of the request compares to the one of the policy. */
  compare?: (request: number, policy: number) => boolean;
}

const equal = (a: number, b: number): boolean => a === b;
const ORDERS = {
  Equals: { compare: equal, negated: false },
  NotEquals: { compare: equal, negated: true },
  LessThan: { compare: (a: number, b: number) => a < b, negated: false },
  LessThanEquals: { compare: (a: number, b: number) => a <= b, negated: false },
  GreaterThan: { compare: (a: number, b: number) => a > b, negated: false },
  GreaterThanEquals: { compare: (a: number, b: number) => a >= b, negated: false },
} as const;

function orders(name: string, operand: 'numeric' | 'date'): [string, ConditionOperator][] {
  return Object.entries(ORDERS).map(([suffix, order]) => [`${name}${suffix}`, { operand, ...order }]);
}

/** Every operator of the language, "Condition operators" of the IAM User Guide; `IfExists` and sets are written around them. */
export const CONDITION_OPERATORS: ReadonlyMap<string, ConditionOperator> = new Map<string, ConditionOperator>(
  [
    ['StringEquals', { operand: 'string', negated: false }],
    ['StringNotEquals', { operand: 'string', negated: true }],
    ['StringEqualsIgnoreCase', { operand: 'string', negated: false, ignoreCase: true }],
    ['StringNotEqualsIgnoreCase', { operand: 'string', negated: true, ignoreCase: true }],
    ['StringLike', { operand: 'pattern', negated: false }],
    ['StringNotLike', { operand: 'pattern', negated: true }],
    ...orders('Numeric', 'numeric'),
    ...orders('Date', 'date'),
    ['Bool', { operand: 'bool', negated: false }],
    ['BinaryEquals', { operand: 'binary', negated: false }],
    ['IpAddress', { operand: 'ip', negated: false }],
    ['NotIpAddress', { operand: 'ip', negated: true }],
    ['ArnEquals', { operand: 'arn', negated: false }],
    ['ArnNotEquals', { operand: 'arn', negated: true }],
    ['ArnLike', { operand: 'arn', negated: false }],
    ['ArnNotLike', { operand: 'arn', negated: true }],
    ['Null', { operand: 'null', negated: false }],
  ],
);

/** Operands in which variables are read; in all others `${` is a fault of the writer. */
export function takesVariables(operand: OperandType): boolean {
  return operand === 'string' || operand === 'pattern' || operand === 'arn' || operand === 'bool';
}

/** @returns NaN for what is no integer or decimal; texts such as `0x10`, `1e3` and `Infinity` are none */
export function numberOf(text: string): number {
  return /^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$/.test(text) ? Number(text) : NaN;
}

const DATE = /^[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(.*))?)?)?$/;

/**
 * A date of the W3C profile of ISO 8601, UTC where it names no zone, or seconds since 1970.
 * @returns milliseconds since 1970; NaN for what is no date
 */
export function dateOf(text: string): number {
  if (/^-?[0-9]+$/.test(text) && text.length !== 4) return Number(text) * 1000;
  const match = DATE.exec(text);
  if (!match) return NaN;
  const zone = match[1];
  if (zone === undefined) return Date.parse(text);
  if (zone === '') return Date.parse(`${text}Z`);
  return /^(?:Z|[-+][0-9]{2}:[0-9]{2})$/.test(zone) ? Date.parse(text) : NaN;
}

/** @returns null for what is neither `true` nor `false` */
export function boolOf(text: string): boolean | null {
  const lower = text.toLowerCase();
  return lower === 'true' ? true : lower === 'false' ? false : null;
}

/** @returns the bytes in canonical base64, null for what is not base64 */
export function binaryOf(text: string): string | null {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return null;
  return Buffer.from(text, 'base64').toString('base64');
}

/** Addresses and CIDR ranges of both families. */
export class AddressRanges {
  // One list for each: a list of both takes an IPv4 address for one of `::/0`, of which it is none here.
  private readonly v4 = new BlockList();
  private readonly v6 = new BlockList();

  /** @returns false when the text is neither an address nor a range */
  add(range: string): boolean {
    const [, address = '', prefix] = /^([^/%]+)(?:\/([0-9]{1,3}))?$/.exec(range) ?? [];
    const version = isIP(address);
    const bits = version === 4 ? 32 : 128;
    if (version === 0 || (prefix !== undefined && Number(prefix) > bits)) return false;
    const list = version === 4 ? this.v4 : this.v6;
    list.addSubnet(address, prefix === undefined ? bits : Number(prefix), version === 4 ? 'ipv4' : 'ipv6');
    return true;
  }

  /** An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. */
  has(address: string): boolean {
    if (isIPv4(address)) return this.v4.check(address, 'ipv4');
    const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
    if (mapped !== undefined && isIPv4(mapped)) return this.v4.check(mapped, 'ipv4');
    return isIPv6(address) && this.v6.check(address, 'ipv6');
  }
}
