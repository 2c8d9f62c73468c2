/** The few names, patterns and values that random policies and requests are made of. */

export const HOME = '111111111111';
export const AWAY = '222222222222';
export const REPOSITORIES = ['app', 'team-a/api', 'team-a/web', 'team-b/api', 'ann', 'bob/tools'];
export const REPOSITORY_ACTIONS = [
  'ecr:PutImage',
  'ecr:BatchGetImage',
  'ecr:GetDownloadUrlForLayer',
  'ecr:DescribeImages',
  'ecr:SetRepositoryPolicy',
  'ecr:TagResource',
];
export const REGISTRY_ACTIONS = [
  'ecr:GetAuthorizationToken',
  'ecr:DescribeRegistry',
  'ecr:PutRegistryPolicy',
];
export const ACTION_PATTERNS = [
  '*',
  'ecr:*',
  'ecr:*',
  'ecr:*',
  'ECR:putimage',
  'ecr:Put*',
  'ecr:*Image',
  'ecr:?utImage',
  'ecr:Batch*',
  'ecr:Get*',
  'ecr:*e*a*',
  'ecr:Describe*',
  's3:*',
  ...REPOSITORY_ACTIONS,
  ...REGISTRY_ACTIONS,
];
export const USERS = [
  `arn:aws:iam::${HOME}:user/ann`,
  `arn:aws:iam::${HOME}:user/dev/bob`,
  `arn:aws:iam::${AWAY}:user/ann`,
];
const ROLES = [`arn:aws:iam::${HOME}:role/ci`, `arn:aws:iam::${AWAY}:role/ci`];
export const SESSIONS = [
  `arn:aws:sts::${HOME}:assumed-role/ci/ann`,
  `arn:aws:sts::${HOME}:assumed-role/ci/run-7`,
  `arn:aws:sts::${AWAY}:assumed-role/ci/ann`,
];
export const PRINCIPALS = [
  '*',
  HOME,
  AWAY,
  `arn:aws:iam::${HOME}:root`,
  `arn:aws:iam::${AWAY}:root`,
  ...USERS,
  ...ROLES,
  ...SESSIONS,
];

export const repository = (name: string, account = HOME): string =>
  `arn:aws:ecr:us-east-1:${account}:repository/${name}`;

export const RESOURCE_PATTERNS = [
  '*',
  '*',
  ...REPOSITORIES.map((name) => repository(name)),
  repository('*'),
  repository('*'),
  repository('team-?/*'),
  repository('*/api'),
  repository('*a*i*'),
  repository('*', '*'),
  'arn:aws:ecr:*:*:repository/team-a/*',
  `arn:aws:ecr:eu-west-1:${HOME}:repository/*`,
  `arn:aws:ecr:us-*-1:${HOME}:*`,
  'arn:*:ecr:us-east-1:111111111111:repository/app',
  'arn:aws:ecr:*',
  'arn:aws:s3:::bucket/*',
  repository('${aws:username}'),
  repository('${aws:username}/*'),
  repository('${aws:PrincipalTag/team}/*'),
  repository("${aws:PrincipalTag/team, 'team-b'}/*"),
  repository('team${*}a/*'),
];

interface KeyValues {
  key: string;
  values: readonly string[];
  operators: readonly string[];
}

const STRINGS = [
  'StringEquals',
  'StringNotEquals',
  'StringEqualsIgnoreCase',
  'StringNotEqualsIgnoreCase',
  'StringLike',
  'StringNotLike',
];
const comparisons = (type: string): string[] =>
  ['Equals', 'NotEquals', 'LessThan', 'LessThanEquals', 'GreaterThan', 'GreaterThanEquals'].map(
    (name) => `${type}${name}`,
  );
const TAGS = [
  'team-a',
  'team-b',
  'Team-A',
  'team-*',
  'team-?',
  '*',
  'prod',
  '${aws:username}',
  "${aws:username, 'ann'}",
  '${*}',
];

export const CONDITIONS: readonly KeyValues[] = [
  { key: 'aws:PrincipalTag/team', values: TAGS, operators: STRINGS },
  { key: 'aws:principaltag/TEAM', values: TAGS, operators: STRINGS },
  { key: 'aws:RequestTag/team', values: [...TAGS, '${aws:PrincipalTag/team}'], operators: STRINGS },
  {
    key: 'aws:ResourceTag/env',
    values: ['prod', 'test', 'p*', '${aws:PrincipalTag/env}'],
    operators: STRINGS,
  },
  { key: 'ecr:ResourceTag/env', values: ['prod', 'test', 'p*'], operators: STRINGS },
  {
    key: 'aws:username',
    values: ['ann', 'bob', 'ANN', 'a*', '${aws:PrincipalTag/team}'],
    operators: STRINGS,
  },
  { key: 'aws:PrincipalAccount', values: [HOME, AWAY], operators: STRINGS },
  {
    key: 'aws:PrincipalArn',
    values: [
      ...USERS,
      ...ROLES,
      `arn:aws:iam::*:role/*`,
      `arn:aws:iam::${HOME}:*`,
      'arn:aws:iam::*:user/${aws:username}',
    ],
    operators: ['ArnEquals', 'ArnLike', 'ArnNotEquals', 'ArnNotLike', 'StringLike'],
  },
  {
    key: 'aws:SourceIp',
    values: ['203.0.113.0/24', '203.0.113.9', '198.51.100.0/25', '2001:db8::/32', '0.0.0.0/0', '::/0'],
    operators: ['IpAddress', 'NotIpAddress'],
  },
  { key: 'aws:SecureTransport', values: ['true', 'false'], operators: ['Bool'] },
  {
    key: 'aws:CurrentTime',
    values: [
      '2026-01-01T00:00:00Z',
      '2026-06-01',
      '2026-06-01T12:00:00+02:00',
      '2030-01-01T00:00:00Z',
      '1780000000',
    ],
    operators: comparisons('Date'),
  },
  {
    key: 'aws:EpochTime',
    values: ['1780000000', '1700000000', '1900000000'],
    operators: comparisons('Numeric'),
  },
  {
    key: 'aws:MultiFactorAuthAge',
    values: ['300', '3600', '0.5', '-1'],
    operators: comparisons('Numeric'),
  },
  { key: 'aws:TokenIssueTime', values: ['true', 'false'], operators: ['Null'] },
  { key: 'aws:PrincipalTag/team', values: ['true', 'false'], operators: ['Null'] },
  { key: 'aws:TagKeys', values: ['true', 'false'], operators: ['Null'] },
];

export const SETS: KeyValues = {
  key: 'aws:TagKeys',
  values: ['team', 'env', 'owner', 't*', 'e?v', '${aws:username}'],
  operators: STRINGS,
};
