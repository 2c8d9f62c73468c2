import { Digest } from './digest.js';

const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/;

/** ECR allows tags of up to 300 characters; the OCI grammar for the characters holds at both doors. */
export const MAX_TAG_LENGTH = 300;

export function isTag(text: string): boolean {
  return text.length >= 1 && text.length <= MAX_TAG_LENGTH && TAG.test(text);
}

/** What names an image inside a repository. At least one of the two is present. */
export interface ImageIdentifier {
  digest?: string;
  tag?: string;
}

/** @returns the identifier behind an OCI `<reference>`, or null when it is neither digest nor tag. */
export function parseReference(reference: string): ImageIdentifier | null {
  if (reference.includes(':')) {
    const digest = Digest.parse(reference);
    return digest ? { digest: digest.toString() } : null;
  }
  return isTag(reference) ? { tag: reference } : null;
}
