/**
 * Value of `WWW-Authenticate` at the OCI door: Basic only, as ECR answers; there is no token endpoint.
 * @param publicUrl STOWAGE_PUBLIC_URL
 */
export function challenge(publicUrl: string): string {
  // Through URL, which percent-encodes a quotation mark that would otherwise end the realm.
  return `Basic realm="${new URL(publicUrl).href.replace(/\/*$/, '/')}",service="ecr.amazonaws.com"`;
}
