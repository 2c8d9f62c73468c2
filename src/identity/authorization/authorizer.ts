import { Injectable } from '@nestjs/common';
import { RegistryError } from '../../domain/registry-error.js';
import type { Principal } from '../caller.js';
import { rootArn } from '../keys/access-keys.js';

type Denial = 'no identity-based policy allows' | 'no resource-based policy allows';

/**
 * Decides who may do what, for both doors, jobs and services alike. No policies are kept yet: the root principal of an
 * account may do everything in it, and nobody anything in another's.
 */
@Injectable()
export class Authorizer {
  /**
   * @param action for example `ecr:PutImage`
   * @param resourceArn ARN of a repository, or `*` for the caller's registry as a whole
   * @throws RegistryError AccessDenied
   */
  async authorize(principal: Principal, action: string, resourceArn: string): Promise<void> {
    const denial = denialOf(principal, resourceArn);
    if (denial === null) return;
    throw new RegistryError(
      'AccessDenied',
      `User: ${principal.arn} is not authorized to perform: ${action} on resource: ${resourceArn} because ${denial} the ${action} action`,
    );
  }

  /** For rules that go another way when the caller may not, where {@link authorize} would refuse the request. */
  async allows(principal: Principal, _action: string, resourceArn: string): Promise<boolean> {
    return denialOf(principal, resourceArn) === null;
  }
}

function denialOf(principal: Principal, resourceArn: string): Denial | null {
  if (ownerOf(resourceArn, principal.accountId) !== principal.accountId) {
    return 'no resource-based policy allows';
  }
  return principal.arn === rootArn(principal.accountId) ? null : 'no identity-based policy allows';
}

/** The account an ARN of ECR names. A text that names none addresses nothing of anybody's; validation refuses it. */
function ownerOf(resourceArn: string, callersAccount: string): string {
  return /^arn:[^:]*:ecr:[^:]*:([^:]*):/.exec(resourceArn)?.[1] ?? callersAccount;
}
