import type { PolicyPrincipals } from '../document/policy-elements.js';

/** Who makes a request. `arn` is what a denial names. */
export type RequestPrincipal =
  | { type: 'root'; accountId: string; arn: string }
  | { type: 'user'; accountId: string; arn: string }
  /** `arn` is that of the session, `roleArn` that of its role, with the path. */
  | { type: 'assumed-role'; accountId: string; arn: string; roleArn: string }
  | { type: 'anonymous' }
  /** Who comes with a token of an identity provider to assume a role; `provider` is its ARN. */
  | { type: 'web-identity'; provider: string }
  /** `service` is its name, such as `lambda.amazonaws.com`. */
  | { type: 'service'; service: string };

/**
 * How closely a statement names who asks. It decides what else must allow the request:
 * - `direct`: the user, the session, the service, the provider, or everyone. Nothing else is asked within the account.
 * - `role`: the role of the session. The limits of the role and of the session hold.
 * - `account`: the account. It hands the decision to the policies of its identities.
 */
export type PrincipalMatch = 'none' | 'account' | 'role' | 'direct';

const STRENGTH: Record<PrincipalMatch, number> = { none: 0, account: 1, role: 2, direct: 3 };

export function strongerMatch(one: PrincipalMatch, other: PrincipalMatch): PrincipalMatch {
  return STRENGTH[one] >= STRENGTH[other] ? one : other;
}

/** The `Principal` or `NotPrincipal` of a statement. */
export class PrincipalMatcher {
  private readonly accounts = new Set<string>();
  private readonly arns = new Set<string>();
  private readonly services: ReadonlySet<string>;
  private readonly providers: ReadonlySet<string>;
  private readonly everyone: boolean;
  private readonly negated: boolean;

  constructor(principals: PolicyPrincipals) {
    this.negated = principals.negated;
    this.everyone = principals.everyone || principals.aws.includes('*');
    this.services = new Set(principals.service);
    this.providers = new Set(principals.federated);
    for (const name of principals.aws) {
      const account = accountOf(name);
      if (account === null) this.arns.add(name);
      else this.accounts.add(account);
    }
  }

  /** @param bounded whether the principal has a permissions boundary */
  match(principal: RequestPrincipal, bounded: boolean): PrincipalMatch {
    if (!this.negated) return this.named(principal);
    return this.exempts(principal, bounded) ? 'none' : 'direct';
  }

  private named(principal: RequestPrincipal): PrincipalMatch {
    if (this.everyone) return 'direct';
    switch (principal.type) {
      case 'anonymous':
        return 'none';
      case 'service':
        return this.services.has(principal.service) ? 'direct' : 'none';
      case 'web-identity':
        return this.providers.has(principal.provider) ? 'direct' : 'none';
      case 'assumed-role':
        if (this.arns.has(principal.arn)) return 'direct';
        if (this.arns.has(principal.roleArn)) return 'role';
        return this.accounts.has(principal.accountId) ? 'account' : 'none';
      case 'user':
      case 'root':
        if (this.arns.has(principal.arn)) return 'direct';
        return this.accounts.has(principal.accountId) ? 'account' : 'none';
    }
  }

  /**
   * `NotPrincipal` spares who is listed together with the account and, for a session, the role; and never who has a
   * permissions boundary ("NotPrincipal" and "Permissions boundaries", IAM User Guide).
   */
  private exempts(principal: RequestPrincipal, bounded: boolean): boolean {
    if (this.everyone) return true;
    if (bounded) return false;
    switch (principal.type) {
      case 'root':
        return this.accounts.has(principal.accountId);
      case 'user':
        return this.arns.has(principal.arn) && this.accounts.has(principal.accountId);
      case 'assumed-role':
        return (
          this.arns.has(principal.arn) &&
          this.arns.has(principal.roleArn) &&
          this.accounts.has(principal.accountId)
        );
      case 'anonymous':
      case 'service':
      case 'web-identity':
        return this.named(principal) !== 'none';
    }
  }
}

/** @returns the account that a name of its own or the ARN of its root means */
function accountOf(name: string): string | null {
  return /^(?:arn:[^:]+:iam::)?([0-9]{12})(?:(?<=^[0-9]{12})|:root)$/.exec(name)?.[1] ?? null;
}
