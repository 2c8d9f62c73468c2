import {
  AddressRanges,
  binaryOf,
  boolOf,
  CONDITION_OPERATORS,
  type ConditionOperator,
  dateOf,
  numberOf,
  takesVariables,
} from '../matching/condition-operators.js';
import { isVariable, templateParts } from '../matching/template.js';
import type { PolicyCondition, StatementPlace } from './policy-elements.js';
import { type JsonNode, quoted } from './policy-json.js';
import { PolicySyntaxError } from './policy-syntax-error.js';
import { object, scalars } from './policy-values.js';

const OPERATOR = /^(?:(ForAnyValue|ForAllValues):)?([A-Za-z]+?)(IfExists)?$/;

/** @throws PolicySyntaxError */
export function parseConditions(
  node: JsonNode | undefined,
  { place, variables }: StatementPlace,
): PolicyCondition[] {
  if (!node) return [];
  const conditions: PolicyCondition[] = [];
  for (const [written, keys] of object(node, `Condition of ${place}`)) {
    const [, quantifier, name = '', suffix] = OPERATOR.exec(written) ?? [];
    const operator = CONDITION_OPERATORS.get(name);
    // Whether a key is there is no question for keys that may be missing, nor for their values one by one.
    if (!operator || (operator.operand === 'null' && (quantifier || suffix))) {
      throw PolicySyntaxError.grammar(`${place} has an unknown condition operator ${quoted(written)}.`);
    }
    for (const [key, list] of object(keys, `${written} of ${place}`)) {
      if (!/^[^:]+:.+$/s.test(key)) {
        throw new PolicySyntaxError(
          'Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.',
        );
      }
      const values = scalars(list, `${quoted(key)} in ${written} of ${place}`);
      if (values.length === 0) throw PolicySyntaxError.grammar(`${quoted(key)} of ${place} has no value.`);
      for (const value of values) {
        if (!isOperand(value, operator, variables)) {
          throw PolicySyntaxError.grammar(
            `${quoted(value)} is no value for ${quoted(key)} in ${written} of ${place}.`,
          );
        }
      }
      conditions.push({
        operator: name,
        ...(quantifier !== undefined && {
          quantifier: quantifier as NonNullable<PolicyCondition['quantifier']>,
        }),
        ifExists: suffix !== undefined,
        key,
        values,
      });
    }
  }
  return conditions;
}

function isOperand(value: string, { operand }: ConditionOperator, variables: boolean): boolean {
  if (variables && takesVariables(operand)) {
    const parts = templateParts(value, { variables, wildcards: false });
    if (parts === null) return false;
    if (parts.some(isVariable)) return true;
  }
  switch (operand) {
    case 'string':
    case 'pattern':
      return true;
    case 'arn':
      return value === '*' || value.startsWith('arn:');
    case 'numeric':
      return !Number.isNaN(numberOf(value));
    case 'date':
      return !Number.isNaN(dateOf(value));
    case 'bool':
    case 'null':
      return boolOf(value) !== null;
    case 'binary':
      return binaryOf(value) !== null;
    case 'ip':
      return new AddressRanges().add(value);
  }
}
