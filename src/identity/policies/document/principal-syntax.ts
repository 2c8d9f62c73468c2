import type { PolicyPrincipals, StatementPlace } from './policy-elements.js';
import type { JsonNode } from './policy-json.js';
import { PolicySyntaxError } from './policy-syntax-error.js';
import { object, strings } from './policy-values.js';

const ACCOUNT = /^[0-9]{12}$/;
/** The principals that have an ARN; a wildcard in it names nobody. */
const PRINCIPAL_ARN =
  /^arn:aws(?:-[a-z]+)*:(?:iam::[0-9]{12}:(?:root|(?:user|role)\/[!-~]{1,575})|sts::[0-9]{12}:(?:assumed-role\/[!-~]{1,64}\/[!-~]{2,64}|federated-user\/[!-~]{2,64}))$/;
const WILDCARD = /[*?]/;

/**
 * `Principal` or `NotPrincipal`, where policies of the kind must have one, and none where they must not.
 * @throws PolicySyntaxError
 */
export function parsePrincipals(
  members: ReadonlyMap<string, JsonNode>,
  effect: 'Allow' | 'Deny',
  { kind, place }: StatementPlace,
): PolicyPrincipals | undefined {
  const plain = members.get('Principal');
  const negated = members.get('NotPrincipal');
  if (kind !== 'resource' && kind !== 'trust') {
    if (plain || negated) throw new PolicySyntaxError('Policy document should not specify a principal.');
    return undefined;
  }
  if (plain && negated) throw PolicySyntaxError.grammar(`${place} has both Principal and NotPrincipal.`);
  const node = plain ?? negated;
  if (!node) throw new PolicySyntaxError('Missing required field Principal');
  // "NotPrincipal", IAM User Guide: everybody but a few is no set of people anyone could mean to let in.
  if (negated && effect === 'Allow') throw new PolicySyntaxError('Allow with NotPrincipal is not allowed.');
  if (negated && kind === 'trust') {
    throw PolicySyntaxError.grammar(
      `${place} has a NotPrincipal, which the trust policy of a role cannot have.`,
    );
  }
  const principals = {
    negated: plain === undefined,
    everyone: false,
    aws: [] as string[],
    service: [] as string[],
    federated: [] as string[],
  };
  if (node.type === 'string') {
    if (node.value !== '*') throw invalid('AWS', node.value);
    return { ...principals, everyone: true };
  }
  for (const [type, value] of object(node, `Principal of ${place}`)) {
    const names = strings(value, `Principal of ${place}`);
    if (names.length === 0) throw new PolicySyntaxError('Missing required field Principal cannot be empty!');
    for (const name of names) {
      if (!isPrincipal(type, name)) throw invalid(type, name);
      if (type === 'AWS') principals.aws.push(name);
      else if (type === 'Service') principals.service.push(name);
      else principals.federated.push(name);
    }
  }
  if (principals.aws.length + principals.service.length + principals.federated.length === 0) {
    throw new PolicySyntaxError('Missing required field Principal cannot be empty!');
  }
  return principals;
}

/** `CanonicalUser` is a word of S3 alone. */
function isPrincipal(type: string, name: string): boolean {
  if (type === 'AWS') {
    return name === '*' || ACCOUNT.test(name) || (PRINCIPAL_ARN.test(name) && !WILDCARD.test(name));
  }
  if (type !== 'Service' && type !== 'Federated') return false;
  return name !== '' && !WILDCARD.test(name);
}

function invalid(type: string, name: string): PolicySyntaxError {
  const shown = (text: string): string => JSON.stringify(text.slice(0, 256));
  return new PolicySyntaxError(`Invalid principal in policy: ${shown(type)}:${shown(name)}`);
}
