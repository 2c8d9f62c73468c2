/** The error codes of IAM and STS that a document can earn. */
export type PolicyFault = 'MalformedPolicyDocument' | 'LimitExceeded' | 'PackedPolicyTooLarge';

/**
 * A text that is no policy. The message begins with the sentence IAM uses where one is known, so that clients which look
 * for it find it, and goes on with what is wrong and where.
 */
export class PolicySyntaxError extends Error {
  constructor(
    message: string,
    readonly code: PolicyFault = 'MalformedPolicyDocument',
  ) {
    super(message);
    this.name = 'PolicySyntaxError';
  }

  /** The sentence for whatever does not follow the grammar. */
  static grammar(detail: string): PolicySyntaxError {
    return new PolicySyntaxError(`Syntax errors in policy. ${detail}`);
  }
}
