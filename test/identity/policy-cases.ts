import {
  ACTION_PATTERNS,
  AWAY,
  CONDITIONS,
  HOME,
  PRINCIPALS,
  REGISTRY_ACTIONS,
  REPOSITORIES,
  REPOSITORY_ACTIONS,
  RESOURCE_PATTERNS,
  SESSIONS,
  SETS,
  USERS,
  repository,
} from './policy-vocabulary.js';

/** Policies and requests made up from a seed: small worlds, so that what is allowed and what is asked often meet. */

export interface PolicyCase {
  principal: { type: 'user' | 'assumed-role' | 'root'; arn: string; roleArn?: string; accountId: string };
  action: string;
  resource: string;
  resourceAccountId: string;
  context: Record<string, string | string[]>;
  identity: DraftPolicy[];
  resourcePolicy?: DraftPolicy;
  boundary?: DraftPolicy;
  session?: DraftPolicy;
}

export interface DraftPolicy {
  Version: string;
  Statement: DraftStatement[];
}

export type DraftCondition = Record<string, Record<string, string | string[]>>;

export interface DraftStatement {
  Sid?: string;
  Effect: 'Allow' | 'Deny';
  Principal?: '*' | Record<string, string | string[]>;
  NotPrincipal?: Record<string, string | string[]>;
  Action?: string | string[];
  NotAction?: string | string[];
  Resource?: string | string[];
  NotResource?: string | string[];
  Condition?: DraftCondition;
}

/** Mulberry32: one number is the whole state. */
export class Dice {
  constructor(private state: number) {}

  number(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.number() < probability;
  }

  upTo(limit: number): number {
    return Math.floor(this.number() * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.upTo(items.length)]!;
  }

  /** One, or a list of up to `most`. */
  some<T>(items: readonly T[], most = 3): T | T[] {
    if (this.chance(0.5)) return this.pick(items);
    return Array.from({ length: 1 + this.upTo(most) }, () => this.pick(items));
  }
}

function condition(dice: Dice): DraftCondition {
  if (dice.chance(0.15)) {
    const prefix = dice.pick(['ForAnyValue:', 'ForAllValues:', 'ForAnyValue:', 'ForAllValues:', '']);
    const suffix = dice.chance(0.2) ? 'IfExists' : '';
    return { [`${prefix}${dice.pick(SETS.operators)}${suffix}`]: { [SETS.key]: dice.some(SETS.values) } };
  }
  const { key, values, operators } = dice.pick(CONDITIONS);
  const operator = dice.pick(operators);
  if (operator === 'Null') return { Null: { [key]: dice.pick(values) } };
  const prefix = dice.chance(0.06) ? dice.pick(['ForAnyValue:', 'ForAllValues:']) : '';
  const suffix = dice.chance(0.2) ? 'IfExists' : '';
  return { [`${prefix}${operator}${suffix}`]: { [key]: dice.some(values) } };
}

function statement(dice: Dice, resource: boolean, deny: number): DraftStatement {
  const Effect = dice.chance(deny) ? 'Deny' : 'Allow';
  const draft: DraftStatement = { Effect };
  if (dice.chance(0.3)) draft.Sid = `Statement${dice.upTo(1e9)}`;
  if (resource) {
    if (Effect === 'Deny' && dice.chance(0.3)) {
      const names = PRINCIPALS.filter((name) => name !== '*');
      draft.NotPrincipal = { AWS: Array.from({ length: 1 + dice.upTo(5) }, () => dice.pick(names)) };
    } else if (dice.chance(0.3)) {
      draft.Principal = '*';
    } else {
      draft.Principal = { AWS: dice.some(PRINCIPALS, 4) };
      if (dice.chance(0.1)) draft.Principal['Service'] = 'lambda.amazonaws.com';
    }
  }
  draft[dice.chance(0.12) ? 'NotAction' : 'Action'] = dice.some(ACTION_PATTERNS, 4);
  if (!resource || dice.chance(0.6)) {
    draft[dice.chance(0.12) ? 'NotResource' : 'Resource'] = dice.some(RESOURCE_PATTERNS, 4);
  }
  if (dice.chance(0.4)) {
    draft.Condition = condition(dice);
    if (dice.chance(0.3)) draft.Condition = { ...condition(dice), ...draft.Condition };
  }
  return draft;
}

function policy(dice: Dice, { resource = false, deny = 0.25, most = 4 } = {}): DraftPolicy {
  return {
    Version: dice.chance(0.9) ? '2012-10-17' : '2008-10-17',
    Statement: Array.from({ length: 1 + dice.upTo(most) }, () => statement(dice, resource, deny)),
  };
}

/** A bound that mostly lets through what it is asked about, or no pair would get past it. */
function bound(dice: Dice): DraftPolicy {
  const drawn = policy(dice, { deny: 0.15 });
  if (dice.chance(0.6)) drawn.Statement.push({ Effect: 'Allow', Action: 'ecr:*', Resource: '*' });
  return drawn;
}

function principal(dice: Dice): PolicyCase['principal'] {
  const drawn = dice.number();
  if (drawn < 0.04) {
    const accountId = dice.pick([HOME, AWAY]);
    return { type: 'root', arn: `arn:aws:iam::${accountId}:root`, accountId };
  }
  if (drawn < 0.5) {
    const arn = dice.pick(USERS);
    return { type: 'user', arn, accountId: arn.split(':')[4]! };
  }
  const arn = dice.pick(SESSIONS);
  const accountId = arn.split(':')[4]!;
  return { type: 'assumed-role', arn, roleArn: `arn:aws:iam::${accountId}:role/ci`, accountId };
}

function context(dice: Dice, who: PolicyCase['principal']): PolicyCase['context'] {
  const values: PolicyCase['context'] = {
    'aws:PrincipalAccount': who.accountId,
    'aws:PrincipalArn': who.roleArn ?? who.arn,
    'aws:SecureTransport': dice.pick(['true', 'true', 'false']),
    'aws:CurrentTime': dice.pick(['2026-06-01T00:00:00Z', '2026-03-04T05:06:07Z', '2031-01-01T00:00:00.5Z']),
    'aws:EpochTime': dice.pick(['1780000000', '1779999999', '1900000001']),
    'aws:SourceIp': dice.pick([
      '203.0.113.9',
      '203.0.114.9',
      '198.51.100.127',
      '198.51.100.128',
      '2001:db8::1',
      '2001:db9::1',
    ]),
  };
  if (who.type === 'user') values['aws:username'] = who.arn.split('/').at(-1)!;
  if (who.type === 'assumed-role') values['aws:TokenIssueTime'] = '2026-01-01T00:00:00Z';
  if (dice.chance(0.6))
    values['aws:PrincipalTag/team'] = dice.pick(['team-a', 'team-b', 'Team-A', '*', 'ann']);
  if (dice.chance(0.3)) values['aws:PrincipalTag/env'] = dice.pick(['prod', 'test', 'p*']);
  if (dice.chance(0.6)) values['aws:ResourceTag/env'] = dice.pick(['prod', 'test']);
  if (dice.chance(0.6)) values['ecr:ResourceTag/env'] = dice.pick(['prod', 'test']);
  if (dice.chance(0.4)) values['aws:RequestTag/team'] = dice.pick(['team-a', 'team-b', 'ann']);
  if (dice.chance(0.6)) {
    values['aws:TagKeys'] = dice.pick([['team'], ['team', 'env'], ['owner'], ['ann', 'team'], ['zone']]);
  }
  if (dice.chance(0.4)) values['aws:MultiFactorAuthAge'] = dice.pick(['10', '300', '3600.0', '5000']);
  return values;
}

export function policyCase(seed: number): PolicyCase {
  const dice = new Dice(seed);
  for (let mix = 0; mix < 3; mix++) dice.number();
  const who = principal(dice);
  const registry = dice.chance(0.12);
  const resourceAccountId = dice.chance(registry ? 1 : 0.85) ? HOME : AWAY;
  const drawn: PolicyCase = {
    principal: who,
    action: dice.pick(registry ? REGISTRY_ACTIONS : REPOSITORY_ACTIONS),
    resource: registry ? '*' : repository(dice.pick(REPOSITORIES), resourceAccountId),
    resourceAccountId,
    context: context(dice, who),
    identity:
      who.type === 'root' ? [] : Array.from({ length: dice.upTo(5) }, () => policy(dice, { deny: 0.12 })),
  };
  if (dice.chance(0.6)) drawn.resourcePolicy = policy(dice, { resource: true, deny: 0.2 });
  if (who.type !== 'root' && dice.chance(0.35)) drawn.boundary = bound(dice);
  if (who.type === 'assumed-role' && dice.chance(0.45)) drawn.session = bound(dice);
  return drawn;
}
