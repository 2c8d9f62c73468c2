import { RegistryError } from '../../domain/registry-error.js';

/** A request without any credential. */
export function missingAuthenticationToken(): RegistryError {
  return new RegistryError('MissingAuthenticationToken', 'Missing Authentication Token');
}

/** One text for every unknown credential, so that it tells nobody what is wrong with it. */
export function unrecognizedClient(): RegistryError {
  return new RegistryError('UnrecognizedClient', 'The security token included in the request is invalid.');
}

export function incompleteSignature(message: string): RegistryError {
  return new RegistryError('IncompleteSignature', message);
}

export function invalidSignature(message: string): RegistryError {
  return new RegistryError('InvalidSignature', message);
}

export function signatureMismatch(): RegistryError {
  return invalidSignature(
    'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
  );
}
