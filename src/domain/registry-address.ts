/** A registry is one account in one Region; every row of metadata hangs on one. */
export interface RegistryAddress {
  /** 12 digits; ECR's `registryId`. */
  accountId: string;
  region: string;
}
