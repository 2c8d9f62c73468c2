import type { RequestContext } from '../request-context.js';
import { Wildcard, type WildcardToken, wildcardTokens } from './wildcard.js';

/** `${key}` or `${key, 'default'}`. */
export interface PolicyVariable {
  /** In lower case, as {@link RequestContext} asks for it. */
  key: string;
  fallback?: string;
}

export type TemplatePart = WildcardToken | PolicyVariable;

/**
 * Splits a text of a policy into what it says, its wildcards and its variables. `${*}`, `${?}` and `${$}` stand for the
 * characters themselves.
 * @param variables whether the version of the policy has them; else `${` is text like any other
 * @param wildcards whether `*` and `?` are more than characters here
 * @returns null when a variable is not written as one
 */
export function templateParts(
  text: string,
  { variables, wildcards }: { variables: boolean; wildcards: boolean },
): TemplatePart[] | null {
  const plain = (piece: string): WildcardToken[] =>
    wildcards ? wildcardTokens(piece) : piece ? [piece] : [];
  if (!variables || !text.includes('${')) return plain(text);
  const parts: TemplatePart[] = [];
  let at = 0;
  for (let start = text.indexOf('${'); start >= 0; start = text.indexOf('${', at)) {
    const end = closingBrace(text, start + 2);
    if (end < 0) return null;
    const part = placeholder(text.slice(start + 2, end));
    if (part === null) return null;
    parts.push(...plain(text.slice(at, start)), part);
    at = end + 1;
  }
  return [...parts, ...plain(text.slice(at))];
}

/** @returns where the brace is that no quotes hold, or -1 */
function closingBrace(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '}') return at;
    if (text[at] !== "'") continue;
    at = text.indexOf("'", at + 1);
    if (at < 0) return -1;
  }
  return -1;
}

function placeholder(content: string): string | PolicyVariable | null {
  if (content === '*' || content === '?' || content === '$') return content;
  const comma = content.indexOf(',');
  const key = (comma < 0 ? content : content.slice(0, comma)).trim().toLowerCase();
  const colon = key.indexOf(':');
  if (colon < 1 || colon === key.length - 1 || /['"${]/.test(key)) return null;
  if (comma < 0) return { key };
  const quotedText = content.slice(comma + 1).trim();
  const fallback = quotedText.slice(1, -1);
  if (quotedText !== `'${fallback}'` || fallback.includes("'")) return null;
  return { key, fallback };
}

export function isVariable(part: TemplatePart): part is PolicyVariable {
  return typeof part === 'object';
}

/**
 * The parts with the values of a request in place of the variables. A value is text: a `*` in it is no wildcard, or whoever
 * may choose a tag could choose what a policy says.
 * @returns null when a variable has no single value and no default
 */
export function resolveParts(
  parts: readonly TemplatePart[],
  context: RequestContext,
): WildcardToken[] | null {
  const tokens: WildcardToken[] = [];
  for (const part of parts) {
    if (isVariable(part)) {
      const value = context.single(part.key) ?? part.fallback;
      if (value === undefined) return null;
      tokens.push(value);
    } else {
      tokens.push(part);
    }
  }
  return tokens;
}

/** A pattern that may have variables; without them it is made once. */
export class WildcardTemplate {
  private readonly fixed: Wildcard | null;

  constructor(private readonly parts: readonly TemplatePart[]) {
    this.fixed = parts.some(isVariable) ? null : Wildcard.of(parts as readonly WildcardToken[]);
  }

  /** @returns null when a variable of it cannot be resolved */
  matches(text: string, context: RequestContext): boolean | null {
    if (this.fixed !== null) return this.fixed.matches(text);
    const tokens = resolveParts(this.parts, context);
    return tokens === null ? null : Wildcard.of(tokens).matches(text);
  }
}
