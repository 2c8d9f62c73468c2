import type { PolicyCondition } from '../document/policy-elements.js';
import type { RequestContext } from '../request-context.js';
import { ArnPattern, splitArn } from './arn-pattern.js';
import {
  AddressRanges,
  binaryOf,
  CONDITION_OPERATORS,
  type ConditionOperator,
  dateOf,
  numberOf,
} from './condition-operators.js';
import { isVariable, resolveParts, type TemplatePart, templateParts, WildcardTemplate } from './template.js';

/** Whether one value of the request compares to any of the policy's; null when a variable that matters is not resolved. */
type AnyValue = (value: string, context: RequestContext) => boolean | null;

/** One line of a `Condition`: an operator, a key and the values of the policy. */
export class CompiledCondition {
  /** In lower case. */
  readonly key: string;
  /** In lower case; what the values refer to beside the key. */
  readonly variables: readonly string[];
  private readonly operator: ConditionOperator;
  private readonly anyValue: AnyValue;

  /**
   * @param condition of a parsed document
   * @param variables whether the version of the policy has them
   */
  constructor(
    private readonly condition: PolicyCondition,
    variables: boolean,
  ) {
    this.key = condition.key.toLowerCase();
    this.operator = CONDITION_OPERATORS.get(condition.operator)!;
    const templates = condition.values.map((value) => partsOf(value, this.operator, variables));
    this.variables = templates.flatMap((parts) => parts.filter(isVariable).map((variable) => variable.key));
    this.anyValue = comparison(this.operator, condition.values, templates);
  }

  holds(context: RequestContext): boolean {
    const values = context.get(this.key);
    const { quantifier, ifExists } = this.condition;
    if (this.operator.operand === 'null')
      return this.anyValue(String(values === undefined), context) === true;
    if (values === undefined) {
      if (ifExists || quantifier === 'ForAllValues') return true;
      return this.operator.negated && quantifier === undefined;
    }
    if (quantifier === 'ForAnyValue') return values.some((value) => this.compares(value, context));
    if (quantifier === 'ForAllValues') return values.every((value) => this.compares(value, context));
    // Without a set operator a list is taken as one: any of it may match what must match, none what must not.
    return this.operator.negated
      ? values.every((value) => this.compares(value, context))
      : values.some((value) => this.compares(value, context));
  }

  private compares(value: string, context: RequestContext): boolean {
    const any = this.anyValue(value, context);
    // A statement with a variable that nothing resolves does not apply, whichever way its operator turns.
    if (any === null) return false;
    return any !== this.operator.negated;
  }
}

/** How a value is read: what it says, its wildcards and its variables. */
function partsOf(value: string, operator: ConditionOperator, variables: boolean): TemplatePart[] {
  const wildcards = operator.operand === 'pattern' || operator.operand === 'arn';
  const parts = templateParts(value, {
    variables: variables && operator.operand !== 'null',
    wildcards,
  });
  return parts ?? [value];
}

function comparison(
  operator: ConditionOperator,
  values: readonly string[],
  templates: readonly TemplatePart[][],
): AnyValue {
  switch (operator.operand) {
    case 'string':
      return equalTexts(
        templates,
        operator.ignoreCase === true ? (text) => text.toLowerCase() : (text) => text,
      );
    case 'bool':
    case 'null':
      return equalTexts(templates, (text) => text.toLowerCase());
    case 'pattern': {
      const patterns = templates.map((parts) => new WildcardTemplate(parts));
      return (value, context) => some(patterns, (pattern) => pattern.matches(value, context));
    }
    case 'arn': {
      const patterns = templates.map((parts) => new ArnPattern(parts));
      return (value, context) => {
        const segments = splitArn(value);
        return segments === null ? false : some(patterns, (pattern) => pattern.matches(segments, context));
      };
    }
    case 'numeric':
      return ordered(operator, values.map(numberOf), numberOf);
    case 'date':
      return ordered(operator, values.map(dateOf), dateOf);
    case 'binary': {
      const wanted = new Set(values.map(binaryOf));
      return (value) => wanted.has(binaryOf(value));
    }
    case 'ip': {
      const ranges = new AddressRanges();
      for (const value of values) ranges.add(value);
      return (value) => ranges.has(value);
    }
  }
}

function equalTexts(templates: readonly TemplatePart[][], fold: (text: string) => string): AnyValue {
  const fixed = new Set(
    templates.flatMap((parts) => {
      const texts = parts.filter((part) => typeof part === 'string');
      return texts.length === parts.length ? [fold(texts.join(''))] : [];
    }),
  );
  const open = templates.filter((parts) => parts.some(isVariable));
  return (value, context) => {
    const wanted = fold(value);
    if (fixed.has(wanted)) return true;
    return some(open, (parts) => {
      const text = resolveParts(parts, context);
      return text === null ? null : fold(text.join('')) === wanted;
    });
  };
}

function ordered(
  operator: ConditionOperator,
  wanted: readonly number[],
  read: (text: string) => number,
): AnyValue {
  return (value) => {
    const given = read(value);
    return wanted.some((number) => operator.compare!(given, number));
  };
}

/** True when any is; else null when any could not be told. */
function some<T>(items: readonly T[], test: (item: T) => boolean | null): boolean | null {
  let result: boolean | null = false;
  for (const item of items) {
    const match = test(item);
    if (match === true) return true;
    if (match === null) result = null;
  }
  return result;
}
