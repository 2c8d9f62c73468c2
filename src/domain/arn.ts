import type { RegistryAddress } from './registry-address.js';

/** ARN of a repository; the only resource type ECR has. */
export function repositoryArn(registry: RegistryAddress, repositoryName: string): string {
  return `arn:aws:ecr:${registry.region}:${registry.accountId}:repository/${repositoryName}`;
}

/** @returns registry and repository name, or null when the text is not a repository ARN. */
export function parseRepositoryArn(
  arn: string,
): { registry: RegistryAddress; repositoryName: string } | null {
  const match = /^arn:aws(?:-[a-z]+)*:ecr:([a-z0-9-]{2,25}):([0-9]{12}):repository\/(.{2,256})$/.exec(arn);
  if (!match) return null;
  return { registry: { region: match[1]!, accountId: match[2]! }, repositoryName: match[3]! };
}
