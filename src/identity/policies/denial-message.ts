import type { Decision, PolicyType } from './evaluate.js';

const WITH_DENY: Record<PolicyType, string> = {
  identity: 'an identity-based policy',
  boundary: 'a permissions boundary',
  session: 'a session policy',
  resource: 'a resource-based policy',
  trust: 'the role trust policy',
};

const WITHOUT_ALLOW: Record<PolicyType, string> = {
  identity: 'identity-based policy',
  boundary: 'permissions boundary',
  session: 'session policy',
  resource: 'resource-based policy',
  trust: 'role trust policy',
};

/**
 * The sentence of AccessDenied for a decision, as "Troubleshoot access denied error messages" of the IAM User Guide has it:
 * one type of policy is named, however many deny.
 * @returns null when the decision is to allow
 */
export function denialMessage(decision: Decision): string | null {
  if (decision.outcome === 'allowed') return null;
  const { principal, action, resource } = decision.request;
  const refused = `User: ${principalName(principal)} is not authorized to perform: ${action} on resource: ${resource}`;
  if (decision.outcome === 'explicit-deny') {
    return `${refused} with an explicit deny in ${WITH_DENY[decision.deniedBy]}`;
  }
  const [first] = decision.lacking;
  return first ? `${refused} because no ${WITHOUT_ALLOW[first]} allows the ${action} action` : refused;
}

function principalName(principal: Decision['request']['principal']): string {
  switch (principal.type) {
    case 'root':
    case 'user':
    case 'assumed-role':
      return principal.arn;
    case 'anonymous':
      return 'anonymous';
    case 'web-identity':
      return principal.provider;
    case 'service':
      return principal.service;
  }
}
