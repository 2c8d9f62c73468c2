import { RegistryError } from './registry-error.js';

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
// Each separator is one fixed run between two alphanumeric runs, so the expression cannot backtrack exponentially.
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);

/** Whether the text is a repository name: ECR's RepositoryName, 2 to 256 characters. */
export function isRepositoryName(text: string): boolean {
  return text.length >= 2 && text.length <= 256 && NAME.test(text);
}

/** @throws RegistryError RepositoryNameInvalid */
export function requireRepositoryName(text: string): string {
  if (!isRepositoryName(text)) throw RegistryError.repositoryNameInvalid(text);
  return text;
}
