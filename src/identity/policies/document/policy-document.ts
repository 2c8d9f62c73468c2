import type { PolicyCondition, PolicyDocument, PolicyStatement } from './policy-elements.js';
import { quoted, readPolicyJson } from './policy-json.js';
import { assertPolicySize, type PolicyKind } from './policy-size.js';
import { PolicySyntaxError } from './policy-syntax-error.js';
import { object, stringOf } from './policy-values.js';
import { parseStatement } from './statement-syntax.js';

const VERSIONS: readonly string[] = ['2008-10-17', '2012-10-17'];

/**
 * Reads what IAM and ECR accept, and refuses the rest.
 * @throws PolicySyntaxError with the sentence IAM has for it; `code` is LimitExceeded or PackedPolicyTooLarge for size
 */
export function parsePolicyDocument(text: string, kind: PolicyKind): PolicyDocument {
  assertPolicySize(text, kind);
  const members = object(readPolicyJson(text), 'The policy');
  for (const name of members.keys()) {
    if (name === 'Id' && (kind === 'identity' || kind === 'boundary' || kind === 'session')) {
      throw PolicySyntaxError.grammar('Id is for policies of resources.');
    }
    if (name !== 'Version' && name !== 'Id' && name !== 'Statement') {
      throw PolicySyntaxError.grammar(`The policy has an unknown element ${quoted(name)}.`);
    }
  }
  const version = members.has('Version') ? stringOf(members.get('Version')!, 'Version') : '2008-10-17';
  if (!VERSIONS.includes(version)) {
    throw PolicySyntaxError.grammar(`Version must be one of ${VERSIONS.join(', ')}.`);
  }
  const node = members.get('Statement');
  if (!node) throw PolicySyntaxError.grammar('The policy has no Statement.');
  const nodes = node.type === 'array' ? node.items : [node];
  if (nodes.length === 0) throw PolicySyntaxError.grammar('The policy has no Statement.');
  const variables = version === '2012-10-17';
  const statements = nodes.map((item, index) =>
    parseStatement(item, { kind, variables, place: `Statement ${index + 1}` }),
  );
  assertUniqueSids(statements, kind);
  const id = members.get('Id');
  return {
    version: version as PolicyDocument['version'],
    ...(id && { id: stringOf(id, 'Id') }),
    statements,
    text,
  };
}

/** ECR lets Sids repeat; IAM does not. */
function assertUniqueSids(statements: readonly PolicyStatement[], kind: PolicyKind): void {
  if (kind === 'resource') return;
  const sids = statements.flatMap(({ sid }) => (sid ? [sid] : []));
  if (new Set(sids).size < sids.length) {
    throw new PolicySyntaxError('Statement IDs (SID) in a single policy must be unique.');
  }
}

/** The document as JSON, every list written as a list. Parsed again it says the same. */
export function printPolicyDocument(document: PolicyDocument): string {
  return JSON.stringify({
    Version: document.version,
    ...(document.id !== undefined && { Id: document.id }),
    Statement: document.statements.map(printStatement),
  });
}

function printStatement(statement: PolicyStatement): Record<string, unknown> {
  const { sid, effect, principals, actions, resources, conditions } = statement;
  const members: Record<string, unknown> = {};
  if (sid !== undefined) members['Sid'] = sid;
  members['Effect'] = effect;
  if (principals) {
    members[principals.negated ? 'NotPrincipal' : 'Principal'] = principals.everyone
      ? '*'
      : Object.fromEntries(
          Object.entries({
            AWS: principals.aws,
            Service: principals.service,
            Federated: principals.federated,
          }) //
            .filter(([, names]) => names.length > 0),
        );
  }
  members[actions.negated ? 'NotAction' : 'Action'] = actions.patterns;
  if (resources) members[resources.negated ? 'NotResource' : 'Resource'] = resources.patterns;
  if (conditions.length > 0) members['Condition'] = printConditions(conditions);
  return members;
}

function printConditions(conditions: readonly PolicyCondition[]): Record<string, Record<string, unknown>> {
  const blocks = new Map<string, [string, readonly string[]][]>();
  for (const { operator, quantifier, ifExists, key, values } of conditions) {
    const name = `${quantifier ? `${quantifier}:` : ''}${operator}${ifExists ? 'IfExists' : ''}`;
    blocks.set(name, [...(blocks.get(name) ?? []), [key, values]]);
  }
  return Object.fromEntries([...blocks].map(([name, keys]) => [name, Object.fromEntries(keys)]));
}
