import type { RegistryClient } from '../support/registry-client.js';

/** What every AWS tool reads: the registry as endpoint of ECR, and its root key. Nothing else is to be reached. */
export function awsEnvironment({ url, credentials }: RegistryClient): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_ECR: url,
    AWS_REGION: 'us-east-1',
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_PAGER: '',
  };
}
