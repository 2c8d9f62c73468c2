import type { Decision } from '../../src/identity/policies/evaluate.js';
import type { DraftPolicy, DraftStatement, PolicyCase } from './policy-cases.js';

/** Where we and the oracle read the language differently on purpose. */
export interface KnownDifference {
  name: string;
  reason: string;
  source: string;
  /** Whether the statement is one that the two read differently in this case. */
  statement?: (statement: DraftStatement, drawn: PolicyCase, policy: DraftPolicy) => boolean;
  /** Whether the case as a whole is decided differently. */
  decision?: (decision: Decision, drawn: PolicyCase) => boolean;
}

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    name: 'a direct grant passes the session policy',
    reason:
      'Within one account, what a resource policy grants to a session by its ARN, or to everyone, is not limited by an implicit deny of the session policy. The oracle limits it.',
    source:
      'IAM User Guide, "Policy evaluation for requests within a single account", row "IAM role session"',
    decision: (decision, { session }) =>
      session !== undefined &&
      !decision.crossAccount &&
      decision.outcome === 'allowed' &&
      decision.by === 'resource',
  },
  {
    name: 'NotPrincipal names less than the whole principal',
    reason:
      'NotPrincipal spares only who is listed together with the account and, for a session, the role. The oracle spares whoever is listed in any of these ways.',
    source: 'IAM User Guide, "AWS JSON policy elements: NotPrincipal"',
    statement: (statement, drawn) => statement.NotPrincipal !== undefined && namedInPart(statement, drawn),
  },
  {
    name: 'a list without a set operator',
    reason:
      'The guide leaves open what an operator without ForAnyValue or ForAllValues does with several values. Here any of them may match what must match, and none what must not, so that a Deny on one tag key is not lost by sending a second. The oracle lets nothing match.',
    source: 'IAM User Guide, "Single-valued vs. multivalued context keys"; our choice',
    statement: (statement, { context }) =>
      conditionsOf(statement).some(
        ({ operator, key }) =>
          Array.isArray(context[key]) && !operator.startsWith('For') && operator !== 'Null',
      ),
  },
  {
    name: 'ForAnyValue…IfExists without the key',
    reason: 'With IfExists a condition whose key is absent is true. The oracle lets ForAnyValue win.',
    source: 'IAM User Guide, "…IfExists condition operators"',
    statement: (statement, { context }) =>
      conditionsOf(statement).some(
        ({ operator, key }) => /^ForAnyValue:.*IfExists$/.test(operator) && !has(context, key),
      ),
  },
  {
    name: 'a date as seconds since 1970',
    reason: 'Dates may be written as epoch time. The oracle compares only dates of ISO 8601.',
    source: 'IAM User Guide, "Date condition operators"',
    statement: (statement) =>
      conditionsOf(statement).some(
        ({ operator, values }) =>
          operator.includes('Date') && values.some((value) => /^[0-9]{5,}$/.test(value)),
      ),
  },
  {
    name: 'a variable in a policy of 2008-10-17',
    reason:
      'Policies before 2012-10-17 have no variables: `${` is text there, and no default or escape either. The oracle resolves them.',
    source: 'IAM User Guide, "IAM policy elements: Variables and tags"',
    statement: (statement, _drawn, { Version }) =>
      Version === '2008-10-17' && JSON.stringify(statement).includes('${'),
  },
  {
    name: 'an escaped wildcard where there are no wildcards',
    reason:
      '`${*}` stands for an asterisk wherever a variable may stand, also in StringEquals. The oracle compares its four characters there.',
    source: 'IAM User Guide, "IAM policy elements: Variables and tags", predefined policy variables',
    statement: (statement) =>
      conditionsOf(statement).some(
        ({ operator, values }) =>
          !operator.includes('Like') && values.some((value) => value.includes('${*}')),
      ),
  },
  {
    name: 'the range of all IPv4 addresses',
    reason: '0.0.0.0/0 holds every IPv4 address. In the oracle it holds none.',
    source: 'IAM User Guide, "IP address condition operators"; RFC 4632',
    statement: (statement) => conditionsOf(statement).some(({ values }) => values.includes('0.0.0.0/0')),
  },
  {
    name: 'NotIpAddress with the other family',
    reason:
      'An IPv6 address is none of a range of IPv4, so NotIpAddress is true of it, and the other way round. In the oracle nothing is true of the two together.',
    source: 'IAM User Guide, "IP address condition operators": "all IP addresses except the specified"',
    statement: (statement, { context }) =>
      conditionsOf(statement).some(
        ({ operator, key, values }) =>
          operator.includes('NotIpAddress') &&
          values.some((value) => value.includes('.') !== String(context[key]).includes('.')),
      ),
  },
  {
    name: 'NotResource with a short ARN, asked about the registry as a whole',
    reason:
      'An operation on the registry as a whole is on `*`, which no ARN matches, so a NotResource that lists ARNs applies. The oracle lets a NotResource with an ARN of fewer than six parts apply to nothing.',
    source:
      'Service Authorization Reference, ECR: actions without a resource type; IAM User Guide, "NotResource"',
    statement: (statement, { resource }) =>
      resource === '*' &&
      [statement.NotResource ?? []].flat().some((arn) => arn.split(':').length < 6 && arn !== '*'),
  },
];

function conditionsOf({ Condition }: DraftStatement): { operator: string; key: string; values: string[] }[] {
  return Object.entries(Condition ?? {}).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([key, values]) => ({ operator, key, values: [values].flat() })),
  );
}

function has(context: PolicyCase['context'], key: string): boolean {
  return Object.keys(context).some((name) => name.toLowerCase() === key.toLowerCase());
}

function namedInPart({ NotPrincipal }: DraftStatement, { principal }: PolicyCase): boolean {
  const names = [NotPrincipal?.['AWS'] ?? []].flat();
  const account = names.some(
    (name) => name === principal.accountId || name.endsWith(`:${principal.accountId}:root`),
  );
  const parts = [account];
  if (principal.type !== 'root') parts.push(names.includes(principal.arn));
  if (principal.roleArn !== undefined) parts.push(names.includes(principal.roleArn));
  return parts.includes(true) && parts.includes(false);
}
