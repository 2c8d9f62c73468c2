import type { RequestContext } from '../request-context.js';
import { isVariable, type TemplatePart, WildcardTemplate } from './template.js';
import { ANY } from './wildcard.js';

/** partition, service, Region, account and resource, behind `arn`. */
const SEGMENTS = 6;

/** @returns the six segments of an ARN, of which the last keeps its colons; null for what is no ARN */
export function splitArn(text: string): readonly string[] | null {
  if (!text.startsWith('arn:')) return null;
  const segments: string[] = [];
  let at = 0;
  while (segments.length < SEGMENTS - 1) {
    const colon = text.indexOf(':', at);
    if (colon < 0) return null;
    segments.push(text.slice(at, colon));
    at = colon + 1;
  }
  segments.push(text.slice(at));
  return segments;
}

/**
 * An ARN with wildcards, compared segment by segment: a `*` does not reach over the colon that ends its segment, except in the
 * last one ("ARN condition operators" and "Resource", IAM User Guide). What has fewer than six segments matches nothing.
 */
export class ArnPattern {
  private readonly segments: readonly WildcardTemplate[] | null;

  /** @param open whether an ARN that ends early in `*`, as `arn:aws:ecr:*` does, goes on with it: so do resources alone. */
  constructor(parts: readonly TemplatePart[], { open = false } = {}) {
    const segments = splitParts(parts);
    if (open) while (segments.length < SEGMENTS && segments.at(-1)?.at(-1) === ANY) segments.push([ANY]);
    this.segments =
      segments.length === SEGMENTS ? segments.map((segment) => new WildcardTemplate(segment)) : null;
  }

  /**
   * @param segments of {@link splitArn}
   * @returns null when a variable of the pattern cannot be resolved
   */
  matches(segments: readonly string[], context: RequestContext): boolean | null {
    if (this.segments === null) return false;
    for (let index = 0; index < SEGMENTS; index++) {
      const match = this.segments[index]!.matches(segments[index]!, context);
      if (match !== true) return match;
    }
    return true;
  }
}

/** Splits at the colons the pattern itself has, five at most; those within variables and their values are none of them. */
export function splitParts(parts: readonly TemplatePart[]): TemplatePart[][] {
  const segments: TemplatePart[][] = [[]];
  for (const part of parts) {
    let rest = part;
    while (typeof rest === 'string' && segments.length < SEGMENTS) {
      const colon = rest.indexOf(':');
      if (colon < 0) break;
      if (colon > 0) segments.at(-1)!.push(rest.slice(0, colon));
      segments.push([]);
      rest = rest.slice(colon + 1);
    }
    if (rest !== '') segments.at(-1)!.push(rest);
  }
  return segments;
}

/** Whether a variable stands before the last segment, where IAM knows none. */
export function hasVariableBeforeResource(parts: readonly TemplatePart[]): boolean {
  return splitParts(parts)
    .slice(0, SEGMENTS - 1)
    .some((segment) => segment.some(isVariable));
}
