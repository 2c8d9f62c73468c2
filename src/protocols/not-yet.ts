import { RegistryError } from '../domain/registry-error.js';
import { isOperationName } from './ecr/operation-names.js';
import { targetOperation } from './route-address.js';

/** The refusal of an operation of ECR's API that this registry does not offer. */
export function notYet(operation: string): RegistryError {
  return new RegistryError('UnknownOperation', `${operation} is not implemented by this registry yet.`);
}

/** The refusal of a request at the ECR door that reached no handler, worded after its `X-Amz-Target` header. */
export function unknownOperation(target: string | string[] | undefined): RegistryError {
  const operation = targetOperation(target);
  if (operation !== null && isOperationName(operation)) return notYet(operation);
  if (operation !== null)
    return new RegistryError('UnknownOperation', `${operation} is not an operation of Amazon ECR.`);
  return new RegistryError(
    'UnknownOperation',
    'The request names no operation: the X-Amz-Target header is missing or not of Amazon ECR.',
  );
}
