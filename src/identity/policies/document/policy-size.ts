import { PolicySyntaxError } from './policy-syntax-error.js';

/** What a policy is attached to; decides which elements it must and must not have. */
export type PolicyKind = 'identity' | 'resource' | 'trust' | 'boundary' | 'session';

/**
 * Characters of policies; IAM counts them without white space. Source: "IAM and AWS STS quotas" of the IAM User Guide. The
 * inline limits are for all inline policies of one entity together, so they are for whoever stores those to check.
 */
export const POLICY_CHARACTERS = {
  inlinePerUser: 2_048,
  inlinePerGroup: 5_120,
  inlinePerRole: 10_240,
  managed: 6_144,
  trust: 2_048,
  session: 2_048,
} as const;

/** White space counts here: the constraint of `RepositoryPolicyText` and `RegistryPolicyText` in the model of ECR. */
export const RESOURCE_POLICY_TEXT_CHARACTERS = 10_240;

/** White space counts here: the constraint of `policyDocumentType` in the model of IAM. */
export const POLICY_TEXT_CHARACTERS = 131_072;

/** Characters of a policy as IAM counts them. */
export function policyCharacters(text: string): number {
  return text.replace(/\s+/g, '').length;
}

/**
 * The limits that hold for one document of its kind, whatever else is attached beside it.
 * @throws PolicySyntaxError LimitExceeded or PackedPolicyTooLarge; MalformedPolicyDocument for the empty text
 */
export function assertPolicySize(text: string, kind: PolicyKind): void {
  const textLimit = kind === 'resource' ? RESOURCE_POLICY_TEXT_CHARACTERS : POLICY_TEXT_CHARACTERS;
  if (text.length > textLimit) throw tooLarge(kind, textLimit);
  if (kind === 'resource') return;
  const limit = {
    // The widest of the inline limits: which one holds is known where the policy is stored.
    identity: POLICY_CHARACTERS.inlinePerRole,
    boundary: POLICY_CHARACTERS.managed,
    trust: POLICY_CHARACTERS.trust,
    session: POLICY_CHARACTERS.session,
  }[kind];
  if (policyCharacters(text) > limit) throw tooLarge(kind, limit);
}

function tooLarge(kind: PolicyKind, limit: number): PolicySyntaxError {
  if (kind === 'session') {
    return new PolicySyntaxError(
      `Packed policy consumes more than 100% of allotted space: a session policy may have ${limit} characters.`,
      'PackedPolicyTooLarge',
    );
  }
  const quota = kind === 'trust' ? 'ACLSizePerRole' : 'PolicySize';
  return new PolicySyntaxError(`Cannot exceed quota for ${quota}: ${limit}`, 'LimitExceeded');
}
