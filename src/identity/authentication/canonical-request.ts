import { createHash } from 'node:crypto';

/** What a signature covers of an HTTP request, exactly as it came over the wire. */
export interface WireRequest {
  method: string;
  /** Path and query, undecoded. */
  url: string;
  /** Name, value, name, value, … as `IncomingMessage.rawHeaders` has them. */
  rawHeaders: readonly string[];
}

/** The request could not be brought into canonical form, so no signature can be right for it. */
export class NotCanonical extends Error {}

/** Query parameters in wire order, percent-decoded. */
export type QueryParameters = readonly (readonly [name: string, value: string])[];

const SIGNATURE_PARAMETER = 'X-Amz-Signature';

/**
 * The canonical request of Signature Version 4 (IAM user guide, "Create a signed AWS API request") for every service but
 * S3: the path is normalised and encoded once more than on the wire.
 *
 * @param signedHeaders lower-case names
 * @throws NotCanonical when a signed header is absent, or the query is not percent-encoded UTF-8
 */
export function canonicalRequest(
  request: WireRequest,
  signedHeaders: readonly string[],
  payloadHash: string,
): string {
  const headers = headerValues(request.rawHeaders);
  const names = signedHeaders.toSorted(byCodeUnit);
  const lines = names.map((name) => {
    const values = headers.get(name);
    if (!values) throw new NotCanonical(`${name} is signed but absent`);
    return `${name}:${values.map(collapseSpaces).join(',')}`;
  });
  const { path, query } = splitUrl(request.url);
  return [
    request.method,
    canonicalPath(path),
    canonicalQuery(parseQuery(query)),
    ...lines,
    '',
    names.join(';'),
    payloadHash,
  ].join('\n');
}

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** All values of every header, in wire order, by lower-case name. */
export function headerValues(rawHeaders: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase();
    const known = values.get(name);
    if (known) known.push(rawHeaders[index + 1]!);
    else values.set(name, [rawHeaders[index + 1]!]);
  }
  return values;
}

/** The absolute form that proxies send (RFC 9112, section 3.2.2) was signed as the path it stands for. */
export function splitUrl(url: string): { path: string; query: string } {
  const target = url.replace(/^https?:\/\/[^/?]*/i, '');
  const mark = target.indexOf('?');
  return mark === -1
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}

/**
 * A `+` is a space, as in forms: botocore sends it for the `%20` that it signs. Signers encode a plus itself as `%2B`.
 * @throws NotCanonical when a name or value is not percent-encoded UTF-8
 */
export function parseQuery(query: string): QueryParameters {
  if (query === '') return [];
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=');
      const [name, value] = equals === -1 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
      return [decode(name), decode(value)] as const;
    });
}

function canonicalQuery(parameters: QueryParameters): string {
  return parameters
    .filter(([name]) => name !== SIGNATURE_PARAMETER)
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([nameA, valueA], [nameB, valueB]) => byCodeUnit(nameA, nameB) || byCodeUnit(valueA, valueB))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

/** Dot segments and repeated slashes are removed, as the signers of AWS do, and the wire's encoding is encoded again. */
function canonicalPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(encode(segment));
  }
  const slash = segments.length > 0 && path.endsWith('/') ? '/' : '';
  return `/${segments.join('/')}${slash}`;
}

function collapseSpaces(value: string): string {
  return value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '');
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', '%20'));
  } catch {
    throw new NotCanonical('The query is not percent-encoded UTF-8');
  }
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
