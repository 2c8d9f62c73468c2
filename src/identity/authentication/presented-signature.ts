import { headerValues, parseQuery, splitUrl, type WireRequest } from './canonical-request.js';
import { incompleteSignature, missingAuthenticationToken } from './signature-errors.js';

/** The parts of a signature as the client wrote them, in either of its two forms. */
export interface PresentedSignature {
  readonly algorithm: string;
  /** Access key id and scope: `id/date/region/service/aws4_request`. */
  readonly credential: string;
  /** Lower-case names, in the order given. */
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly signedAt: Date;
  /** {@link signedAt} as it stands in the string to sign: `20150830T123600Z`. */
  readonly timestamp: string;
  readonly sessionToken: string | undefined;
  /** Value of `x-amz-content-sha256`. */
  readonly payloadHash: string | undefined;
  /** Presigned requests only: validity from {@link signedAt} on. */
  readonly expiresInSeconds: number | undefined;
}

type Lookup = (name: string) => string | undefined;

const ALGORITHM = 'AWS4-HMAC-SHA256';
/** One week, the most a presigned request may be valid for. */
const MAX_EXPIRES_SECONDS = 604_800;

/**
 * Finds the signature of a request in its `Authorization` header or in its query.
 * @throws RegistryError MissingAuthenticationToken when there is none, IncompleteSignature naming each missing piece
 * @throws NotCanonical when the query is not percent-encoded UTF-8
 */
export function readPresentedSignature(request: WireRequest): PresentedSignature {
  const headers = headerValues(request.rawHeaders);
  const header: Lookup = (name) => only(headers.get(name), name);
  const { query } = splitUrl(request.url);
  const presigned = /(?:^|&)X-Amz-(?:Algorithm|Credential|Signature)=/.test(query);
  if (!headers.has('authorization')) {
    if (!presigned) throw missingAuthenticationToken();
    return fromQuery(queryLookup(query), header);
  }
  if (presigned) {
    throw incompleteSignature(
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header should be specified',
    );
  }
  return fromAuthorization(header('authorization')!, header);
}

function fromAuthorization(authorization: string, header: Lookup): PresentedSignature {
  const [scheme = ''] = authorization.split(/[ ,]/, 1);
  const parts =
    scheme === ALGORITHM ? authorizationParts(authorization.slice(scheme.length)) : new Map<string, string>();
  const missing = ['Credential', 'Signature', 'SignedHeaders']
    .filter((name) => !parts.get(name))
    .map((name) => `Authorization header requires '${name}' parameter.`);
  const date = header('x-amz-date') ?? header('date');
  if (date === undefined) {
    missing.push("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  }
  if (missing.length > 0 || date === undefined) {
    // The scheme only: the rest of a foreign Authorization header may be a password.
    throw incompleteSignature([...missing, `Authorization=${scheme.slice(0, 32)}`].join(' '));
  }
  return {
    algorithm: ALGORITHM,
    credential: parts.get('Credential')!,
    signedHeaders: signedHeaderNames(parts.get('SignedHeaders')!),
    signature: parts.get('Signature')!,
    ...signingTime(date),
    sessionToken: header('x-amz-security-token'),
    payloadHash: header('x-amz-content-sha256'),
    expiresInSeconds: undefined,
  };
}

function authorizationParts(text: string): Map<string, string> {
  const parts = new Map<string, string>();
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const equals = part.indexOf('=');
    const name = part.slice(0, equals);
    if (equals === -1) {
      throw incompleteSignature('Authorization header holds a part that is not a key=value pair.');
    }
    if (parts.has(name)) throw incompleteSignature(`Authorization header has '${name}' more than once.`);
    parts.set(name, part.slice(equals + 1));
  }
  return parts;
}

function fromQuery(parameter: Lookup, header: Lookup): PresentedSignature {
  const names = ['Algorithm', 'Credential', 'Date', 'Expires', 'Signature', 'SignedHeaders'];
  const missing = names.map((name) => `X-Amz-${name}`).filter((name) => !parameter(name));
  if (missing.length > 0) {
    const list = missing.map((name) => `'${name}'`).join(', ');
    throw incompleteSignature(
      `AWS query-string parameters must include ${list}. Re-examine the query-string parameters.`,
    );
  }
  if (parameter('X-Amz-Algorithm') !== ALGORITHM) {
    throw incompleteSignature(`X-Amz-Algorithm only supports '${ALGORITHM}'.`);
  }
  return {
    algorithm: ALGORITHM,
    credential: parameter('X-Amz-Credential')!,
    signedHeaders: signedHeaderNames(parameter('X-Amz-SignedHeaders')!),
    signature: parameter('X-Amz-Signature')!,
    ...signingTime(parameter('X-Amz-Date')!),
    sessionToken: parameter('X-Amz-Security-Token') ?? header('x-amz-security-token'),
    payloadHash: parameter('X-Amz-Content-Sha256') ?? header('x-amz-content-sha256'),
    expiresInSeconds: expiry(parameter('X-Amz-Expires')!),
  };
}

/** Signers move headers into the query under whatever spelling they had, hence by lower-case name. */
function queryLookup(query: string): Lookup {
  const values = new Map<string, string[]>();
  for (const [name, value] of parseQuery(query)) {
    const key = name.toLowerCase();
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  return (name) => only(values.get(name.toLowerCase()), name);
}

function only(values: readonly string[] | undefined, name: string): string | undefined {
  if (values && values.length > 1) throw incompleteSignature(`'${name}' must not be given more than once.`);
  return values?.[0];
}

function signedHeaderNames(list: string): string[] {
  return list.toLowerCase().split(';');
}

/**
 * `Date` headers may also have the format of RFC 9110, whose zone some signers write `-0000`. What is signed is always the
 * basic format of ISO 8601.
 */
function signingTime(text: string): { signedAt: Date; timestamp: string } {
  const basic = /^\d{8}T\d{6}Z$/.test(text);
  const iso = text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z');
  const signedAt = new Date(basic || /^[A-Z][a-z]{2}, .+ (?:GMT|[+-]0000)$/.test(text) ? iso : Number.NaN);
  // Compared with its own rendering, because Date takes hour 24 and days a month does not have.
  if (Number.isNaN(signedAt.getTime()) || (basic && basicFormat(signedAt) !== text)) {
    throw incompleteSignature(
      "Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601",
    );
  }
  return { signedAt, timestamp: basicFormat(signedAt) };
}

/** ISO 8601 basic format in whole seconds: `20150830T123600Z`. */
export function basicFormat(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
}

function expiry(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw incompleteSignature('X-Amz-Expires should be a non-negative number');
  const seconds = Number(text);
  if (seconds > MAX_EXPIRES_SECONDS) {
    throw incompleteSignature(
      `X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than ${MAX_EXPIRES_SECONDS} seconds`,
    );
  }
  return seconds;
}
