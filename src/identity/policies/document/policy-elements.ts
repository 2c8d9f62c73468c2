import type { TextRange } from './policy-json.js';
import type { PolicyKind } from './policy-size.js';

/** A policy that follows the grammar, with everything the language leaves open settled. */
export interface PolicyDocument {
  /** Without one, a policy speaks the older. Only 2012-10-17 knows variables. */
  version: '2008-10-17' | '2012-10-17';
  id?: string;
  statements: readonly PolicyStatement[];
  text: string;
}

export interface PolicyStatement {
  sid?: string;
  effect: 'Allow' | 'Deny';
  actions: PolicyPatterns;
  /** Absent where the policy is about what it is attached to. */
  resources?: PolicyPatterns;
  /** Absent where the policy is about whom it is attached to. */
  principals?: PolicyPrincipals;
  conditions: readonly PolicyCondition[];
  range: TextRange;
}

/** `Action`, `Resource`, or with `negated` their `Not…`. */
export interface PolicyPatterns {
  negated: boolean;
  patterns: readonly string[];
}

export interface PolicyPrincipals {
  negated: boolean;
  /** `"Principal": "*"`. */
  everyone: boolean;
  aws: readonly string[];
  service: readonly string[];
  federated: readonly string[];
}

export interface PolicyCondition {
  /** Name of an operator without set operator and `IfExists`. */
  operator: string;
  quantifier?: 'ForAnyValue' | 'ForAllValues';
  ifExists: boolean;
  /** As written; keys are compared without regard to case. */
  key: string;
  values: readonly string[];
}

/** What the readers of the elements of a statement know of it. */
export interface StatementPlace {
  kind: PolicyKind;
  /** Whether the version of the policy has variables. */
  variables: boolean;
  /** For messages: which statement. */
  place: string;
}
