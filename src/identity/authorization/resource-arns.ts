import { repositoryArn } from '../../domain/arn.js';
import { addressedRegistry, type Caller } from '../caller.js';

type Document = Readonly<Record<string, unknown>>;

/**
 * ARNs of what a request at the ECR door asks for.
 * @param names ARNs, names of repositories of the registry addressed, or `*`
 * @param input the document, not validated yet
 */
export function ecrResourceArns(names: readonly string[], input: Document, caller: Caller): string[] {
  const registry = addressedRegistry(caller, registryIdOf(input));
  const foreign = registry.accountId !== caller.principal.accountId;
  // Nothing named is the registry as a whole: an empty list must not be a question that nobody asks.
  return (names.length > 0 ? names : ['*']).map((name) => {
    if (name.startsWith('arn:')) return name;
    // `*` is in the caller's own account; in another's it must name that account.
    return name === '*' && !foreign ? '*' : repositoryArn(registry, name);
  });
}

/** ARN of the repository `:name` of a route at the OCI door; login tokens are for the registry of their own account. */
export function ociResourceArn(name: string | undefined, caller: Caller): string {
  return name === undefined ? '*' : repositoryArn(addressedRegistry(caller), name);
}

/** What is not a registry id addresses no registry; the validation that follows says so. */
function registryIdOf(input: Document): string | undefined {
  const id = input['registryId'];
  return typeof id === 'string' && /^[0-9]{12}$/.test(id) ? id : undefined;
}
