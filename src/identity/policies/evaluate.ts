import type { CompiledPolicy, CompiledStatement, StatementRequest } from './compiled-policy.js';
import { splitArn } from './matching/arn-pattern.js';
import { type PrincipalMatch, type RequestPrincipal, strongerMatch } from './matching/principals.js';
import type { RequestContext } from './request-context.js';

/** One action on one resource; a request that names several is asked about each. */
export interface AuthorizationRequest {
  principal: RequestPrincipal;
  /** Such as `ecr:PutImage`. */
  action: string;
  /** An ARN, or `*` for the registry as a whole. What is neither is taken for `*`. */
  resource: string;
  /** The account that owns the resource, 12 digits. */
  resourceAccountId: string;
  context: RequestContext;
}

/** Everything that is attached to who asks and to what is asked for. */
export interface ApplicablePolicies {
  /** Inline and managed, of the user and its groups or of the role. Not asked for root: it may do everything of its own. */
  identity: readonly CompiledPolicy[];
  /** Of the repository and of the registry: what any of them allows is allowed. */
  resource?: readonly CompiledPolicy[];
  /** Absent without a permissions boundary. */
  boundary?: CompiledPolicy;
  /** Of the session, taken together. Absent when none was passed; a list of none allows nothing. */
  session?: readonly CompiledPolicy[];
  /** The trust policy of the role, when the action is to assume it: then it must allow, whatever else does. */
  trust?: CompiledPolicy;
}

export const POLICY_TYPES = ['identity', 'boundary', 'session', 'resource', 'trust'] as const;
export type PolicyType = (typeof POLICY_TYPES)[number];

export interface MatchedStatement {
  type: PolicyType;
  statement: CompiledStatement;
}

export type Decision = {
  request: AuthorizationRequest;
  /** Whether who asks belongs to another account than the resource. */
  crossAccount: boolean;
  /** For an explicit deny, every Deny that applies; else every Allow that does, enough or not. */
  matched: readonly MatchedStatement[];
  /** Whether the permissions boundary allows the action; null without one, and unasked once there is an explicit deny. */
  boundaryAllows: boolean | null;
} & (
  | { outcome: 'allowed'; by: 'root' | 'identity' | 'resource' | 'identity-and-resource' }
  | { outcome: 'explicit-deny'; deniedBy: PolicyType }
  /** `lacking`: the types of policy that would have to allow and do not, the one to name first. */
  | { outcome: 'implicit-deny'; lacking: readonly PolicyType[] }
);

/**
 * Decides as "Policy evaluation logic" of the IAM User Guide says. An explicit deny anywhere ends it. Then, within one
 * account, either the identity's policies or the resource's must allow, the identity's within the bounds of its permissions
 * boundary and its session policy; a resource policy that names the user, the session or everyone passes those bounds, one
 * that names the role keeps them, one that names the account leaves it to the identity's policies. Across accounts both sides
 * must allow, and the bounds always hold. The root may do in its own account what no resource policy denies.
 * @throws Error when a policy stands where its kind does not belong
 */
export function evaluate(request: AuthorizationRequest, policies: ApplicablePolicies): Decision {
  const { principal } = request;
  const question: StatementRequest = {
    principal,
    action: request.action.toLowerCase(),
    resource: splitArn(request.resource),
    context: request.context,
    bounded: policies.boundary !== undefined,
  };
  const account = 'accountId' in principal ? principal.accountId : null;
  const crossAccount = account !== request.resourceAccountId;
  const { boundary, session, trust } = policies;
  const lists = {
    // The root is who hands out policies: none bounds it but those of the resource.
    identity: principal.type === 'root' ? [] : policies.identity,
    boundary: boundary ? [boundary] : [],
    session: session ?? [],
    resource: policies.resource ?? [],
    trust: trust ? [trust] : [],
  };

  const denials: MatchedStatement[] = [];
  for (const type of POLICY_TYPES) collect(type, lists[type], 'denies', question, denials);
  if (denials.length > 0) {
    const deniedBy = denials[0]!.type;
    return {
      request,
      crossAccount,
      matched: denials,
      boundaryAllows: null,
      outcome: 'explicit-deny',
      deniedBy,
    };
  }

  const matched: MatchedStatement[] = [];
  const allows = (type: PolicyType): PrincipalMatch =>
    collect(type, lists[type], 'allows', question, matched);
  const root = principal.type === 'root';
  const identity = allows('identity') !== 'none' || root;
  const boundaryAllows = boundary ? allows('boundary') !== 'none' : null;
  const within = {
    boundary: boundaryAllows !== false,
    session: session === undefined || allows('session') !== 'none',
  };
  const type: PolicyType = trust ? 'trust' : 'resource';
  const resource = allows(type);
  const common = { request, crossAccount, matched, boundaryAllows };

  const own = identity && within.boundary && within.session;
  const passes = resource === 'direct' || (resource === 'role' && within.boundary && within.session);
  const granted = account === null ? resource === 'direct' : !crossAccount && passes;
  const delegated = account !== null && own && (resource !== 'none' || (!crossAccount && !trust));
  if (granted || delegated) {
    if (root && !crossAccount) return { ...common, outcome: 'allowed', by: 'root' };
    const by = !delegated || !own ? 'resource' : resource === 'none' ? 'identity' : 'identity-and-resource';
    return { ...common, outcome: 'allowed', by };
  }

  const lacking: PolicyType[] = [];
  const resourceMustAllow = account === null || crossAccount || trust !== undefined;
  if (resourceMustAllow && resource === 'none') lacking.push(type);
  if (account !== null) {
    if (!identity && (crossAccount || resource !== 'role')) lacking.push('identity');
    if (!within.boundary) lacking.push('boundary');
    if (!within.session) lacking.push('session');
  }
  return { ...common, outcome: 'implicit-deny', lacking };
}

/** Adds the statements that apply. @returns the closest that any of them names who asks */
function collect(
  type: PolicyType,
  policies: readonly CompiledPolicy[],
  effect: 'allows' | 'denies',
  question: StatementRequest,
  into: MatchedStatement[],
): PrincipalMatch {
  const ofResource = type === 'resource' || type === 'trust';
  let closest: PrincipalMatch = 'none';
  for (const policy of policies) {
    // Taken for a resource's, the policy of an identity would be about everyone.
    if (policy.namesPrincipals !== ofResource) throw new Error(`${policy.name} is no policy of type ${type}`);
    for (const statement of policy[effect]) {
      const match = statement.match(question);
      if (match === 'none') continue;
      closest = strongerMatch(closest, match);
      into.push({ type, statement });
    }
  }
  return closest;
}
