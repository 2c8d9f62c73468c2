import { hasVariableBeforeResource } from '../matching/arn-pattern.js';
import { isVariable, templateParts } from '../matching/template.js';
import { parseConditions } from './condition-syntax.js';
import type { PolicyPatterns, PolicyStatement, StatementPlace } from './policy-elements.js';
import { type JsonNode, quoted } from './policy-json.js';
import { PolicySyntaxError } from './policy-syntax-error.js';
import { object, stringOf, strings } from './policy-values.js';
import { parsePrincipals } from './principal-syntax.js';

const ELEMENTS: ReadonlySet<string> = new Set([
  'Sid',
  'Effect',
  'Principal',
  'NotPrincipal',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
]);

/** What the trust policy of a role may speak of. */
const TRUST_ACTION = /^sts:(?:assumerole[a-z*?]*|tagsession|setsourceidentity|\*)$/i;

/** @throws PolicySyntaxError */
export function parseStatement(node: JsonNode, at: StatementPlace): PolicyStatement {
  const members = object(node, at.place);
  for (const name of members.keys()) {
    if (!ELEMENTS.has(name)) {
      throw PolicySyntaxError.grammar(`${at.place} has an unknown element ${quoted(name)}.`);
    }
  }
  const effect = members.get('Effect');
  if (!effect) throw PolicySyntaxError.grammar(`${at.place} has no Effect.`);
  if (effect.type !== 'string' || (effect.value !== 'Allow' && effect.value !== 'Deny')) {
    throw PolicySyntaxError.grammar(`Effect of ${at.place} must be Allow or Deny.`);
  }
  const sid = parseSid(members, at);
  const principals = parsePrincipals(members, effect.value, at);
  const actions = parseActions(members, at);
  const resources = parseResources(members, at);
  return {
    ...(sid !== undefined && { sid }),
    effect: effect.value,
    actions,
    ...(resources && { resources }),
    ...(principals && { principals }),
    conditions: parseConditions(members.get('Condition'), at),
    range: { start: node.start, end: node.end },
  };
}

function parseSid(members: ReadonlyMap<string, JsonNode>, at: StatementPlace): string | undefined {
  const node = members.get('Sid');
  if (!node) return undefined;
  const sid = stringOf(node, `Sid of ${at.place}`);
  if (at.kind !== 'resource' && !/^[0-9A-Za-z]*$/.test(sid)) {
    throw new PolicySyntaxError(
      'Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*',
    );
  }
  return sid;
}

/** @returns the element or its `Not…`, undefined without either; @throws PolicySyntaxError for both, or an empty list */
function patterns(
  members: ReadonlyMap<string, JsonNode>,
  name: 'Action' | 'Resource',
  { place }: StatementPlace,
): PolicyPatterns | undefined {
  const plain = members.get(name);
  const negated = members.get(`Not${name}`);
  if (plain && negated) {
    throw PolicySyntaxError.grammar(`${place} has both ${name} and Not${name}.`);
  }
  const node = plain ?? negated;
  if (!node) return undefined;
  const list = strings(node, `${plain ? name : `Not${name}`} of ${place}`);
  if (list.length === 0) return undefined;
  return { negated: plain === undefined, patterns: list };
}

function parseActions(members: ReadonlyMap<string, JsonNode>, at: StatementPlace): PolicyPatterns {
  const actions = patterns(members, 'Action', at);
  if (!actions) throw new PolicySyntaxError('Policy statement must contain actions.');
  for (const action of actions.patterns) {
    if (at.kind === 'trust' && (actions.negated || !TRUST_ACTION.test(action))) {
      throw new PolicySyntaxError('AssumeRole policy may only specify STS AssumeRole actions.');
    }
    if (action === '*') continue;
    const [vendor, name, ...more] = action.split(':');
    if (name === undefined) {
      throw new PolicySyntaxError(
        'Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.',
      );
    }
    if (more.length > 0) throw new PolicySyntaxError('Actions/Condition can contain only one colon.');
    if (vendor !== '*' && !/^[a-zA-Z0-9\-.]+$/.test(vendor!)) {
      throw new PolicySyntaxError(`Vendor ${vendor} is not valid`);
    }
    if (!/^[a-zA-Z0-9*?]+$/.test(name)) {
      throw PolicySyntaxError.grammar(`The action ${quoted(action)} of ${at.place} is not one.`);
    }
  }
  return actions;
}

function parseResources(
  members: ReadonlyMap<string, JsonNode>,
  at: StatementPlace,
): PolicyPatterns | undefined {
  if (at.kind === 'trust') {
    if (members.has('Resource')) throw new PolicySyntaxError('Has prohibited field Resource');
    if (members.has('NotResource')) {
      throw new PolicySyntaxError('AssumeRole policy must not contain resources.');
    }
    return undefined;
  }
  const resources = patterns(members, 'Resource', at);
  if (!resources) {
    // A repository policy is about its repository and needs not say so; an empty list says nothing at all.
    const silent = !members.has('Resource') && !members.has('NotResource');
    if (at.kind === 'resource' && silent) return undefined;
    throw new PolicySyntaxError('Policy statement must contain resources.');
  }
  for (const resource of resources.patterns) assertResource(resource, at);
  return resources;
}

function assertResource(resource: string, at: StatementPlace): void {
  if (resource === '*') return;
  if (!resource.startsWith('arn:')) {
    throw new PolicySyntaxError(`Resource ${resource.slice(0, 256)} must be in ARN format or "*".`);
  }
  const parts = templateParts(resource, { variables: at.variables, wildcards: true });
  if (parts === null || (parts.some(isVariable) && hasVariableBeforeResource(parts))) {
    throw PolicySyntaxError.grammar(
      `The resource ${quoted(resource)} of ${at.place} has a variable that is not one, or before its sixth part.`,
    );
  }
  const [, partition = '', service] = resource.split(':');
  if (service === undefined || service === '' || /[*?]/.test(service)) {
    throw new PolicySyntaxError('Resource vendor must be fully qualified and cannot contain regexes.');
  }
  if (!/^(?:aws(?:-[a-z]+)*|\*)$/.test(partition)) {
    throw new PolicySyntaxError(
      `Partition "${partition.slice(0, 64)}" is not valid for resource "${resource.slice(0, 256)}".`,
    );
  }
}
