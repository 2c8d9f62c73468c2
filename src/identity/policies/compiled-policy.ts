import type { PolicyDocument, PolicyPatterns } from './document/policy-elements.js';
import type { TextRange } from './document/policy-json.js';
import { ArnPattern } from './matching/arn-pattern.js';
import { CompiledCondition } from './matching/conditions.js';
import { type PrincipalMatch, PrincipalMatcher, type RequestPrincipal } from './matching/principals.js';
import { isVariable, type TemplatePart, templateParts } from './matching/template.js';
import { Wildcard } from './matching/wildcard.js';
import type { RequestContext } from './request-context.js';

/** One question as the statements read it. */
export interface StatementRequest {
  principal: RequestPrincipal;
  /** In lower case. */
  action: string;
  /** Segments of the ARN; null for `*`, the registry as a whole. */
  resource: readonly string[] | null;
  context: RequestContext;
  /** Whether the principal has a permissions boundary. */
  bounded: boolean;
}

/** A policy made ready to answer, once for all requests. It keeps no state: share it freely. */
export interface CompiledPolicy {
  /** As it is named to people: an ARN, or the name of an inline policy. */
  name: string;
  allows: readonly CompiledStatement[];
  denies: readonly CompiledStatement[];
  /** Condition keys it reads, in conditions and variables, as written first. */
  contextKeys: readonly string[];
  /** Whether its statements say whom they are about, as those of a resource do and those of an identity must not. */
  namesPrincipals: boolean;
  document: PolicyDocument;
}

export function compilePolicy(name: string, document: PolicyDocument): CompiledPolicy {
  const statements = document.statements.map((_, index) => new CompiledStatement(name, document, index));
  const written = new Map<string, string>();
  for (const { conditions } of document.statements) {
    for (const { key } of conditions) {
      if (!written.has(key.toLowerCase())) written.set(key.toLowerCase(), key);
    }
  }
  for (const key of statements.flatMap((statement) => statement.variables)) {
    if (!written.has(key)) written.set(key, key);
  }
  return {
    name,
    allows: statements.filter(({ effect }) => effect === 'Allow'),
    denies: statements.filter(({ effect }) => effect === 'Deny'),
    contextKeys: [...written.values()],
    namesPrincipals: document.statements.some(({ principals }) => principals !== undefined),
    document,
  };
}

/** Condition keys the policies read and the request does not give: `MissingContextValues` of a simulation. */
export function missingContextKeys(policies: readonly CompiledPolicy[], context: RequestContext): string[] {
  const missing = new Map<string, string>();
  for (const key of policies.flatMap(({ contextKeys }) => contextKeys)) {
    const lower = key.toLowerCase();
    if (context.get(lower) === undefined && !missing.has(lower)) missing.set(lower, key);
  }
  return [...missing.values()];
}

export class CompiledStatement {
  readonly sid: string | undefined;
  readonly effect: 'Allow' | 'Deny';
  /** Where it stands in the text of its document. */
  readonly range: TextRange;
  /** Keys of its variables, in lower case. */
  readonly variables: readonly string[];
  private readonly actions: readonly Wildcard[];
  private readonly otherActions: boolean;
  private readonly resources: ResourceMatcher | null;
  private readonly principals: PrincipalMatcher | null;
  private readonly conditions: readonly CompiledCondition[];

  constructor(
    /** Name of its policy. */
    readonly policy: string,
    readonly document: PolicyDocument,
    /** From 0. */
    readonly index: number,
  ) {
    const statement = document.statements[index]!;
    const variables = document.version === '2012-10-17';
    this.sid = statement.sid;
    this.effect = statement.effect;
    this.range = statement.range;
    this.actions = statement.actions.patterns.map((pattern) => Wildcard.parse(pattern.toLowerCase()));
    this.otherActions = statement.actions.negated;
    this.resources = statement.resources ? new ResourceMatcher(statement.resources, variables) : null;
    this.principals = statement.principals ? new PrincipalMatcher(statement.principals) : null;
    this.conditions = statement.conditions.map((condition) => new CompiledCondition(condition, variables));
    this.variables = [
      ...(this.resources?.variables ?? []),
      ...this.conditions.flatMap((condition) => condition.variables),
    ];
  }

  /** @returns how closely it names who asks, or `none` when it does not apply; without principals it is theirs directly */
  match(request: StatementRequest): PrincipalMatch {
    if (this.actions.some((action) => action.matches(request.action)) === this.otherActions) return 'none';
    if (this.resources !== null && !this.resources.matches(request)) return 'none';
    const match =
      this.principals === null ? 'direct' : this.principals.match(request.principal, request.bounded);
    if (match === 'none') return match;
    for (const condition of this.conditions) if (!condition.holds(request.context)) return 'none';
    return match;
  }
}

/** `Resource` or `NotResource`. */
class ResourceMatcher {
  readonly variables: readonly string[];
  private readonly everything: boolean;
  private readonly arns: readonly ArnPattern[];
  private readonly negated: boolean;

  constructor({ negated, patterns }: PolicyPatterns, variables: boolean) {
    this.negated = negated;
    this.everything = patterns.includes('*');
    const templates = patterns
      .filter((pattern) => pattern !== '*')
      .map((pattern): TemplatePart[] => templateParts(pattern, { variables, wildcards: true }) ?? [pattern]);
    this.arns = templates.map((parts) => new ArnPattern(parts, { open: true }));
    this.variables = templates.flatMap((parts) => parts.filter(isVariable).map((variable) => variable.key));
  }

  matches({ resource, context }: StatementRequest): boolean {
    if (this.everything) return !this.negated;
    if (resource === null) return this.negated;
    for (const arn of this.arns) {
      const match = arn.matches(resource, context);
      // A variable that nothing resolves keeps the statement from applying, as it does in conditions.
      if (match === null) {
        if (this.negated) return false;
      } else if (match) {
        return !this.negated;
      }
    }
    return this.negated;
  }
}
