import type { RegistryAddress } from '../domain/registry-address.js';

/** Who signed the request or logged in. */
export interface Principal {
  arn: string;
  /** 12 digits. */
  accountId: string;
  accessKeyId: string;
}

/** What controllers know of the request: who calls, and in which Region. */
export interface Caller {
  principal: Principal;
  /** Region of the credential scope (ECR door) or of the login token (OCI door). */
  region: string;
}

/** The registry a request addresses: the caller's own unless it names another account. */
export function addressedRegistry(caller: Caller, registryId?: string): RegistryAddress {
  return { accountId: registryId ?? caller.principal.accountId, region: caller.region };
}
