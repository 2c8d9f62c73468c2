import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  canonicalRequest,
  headerValues,
  NotCanonical,
  sha256Hex,
  type WireRequest,
} from './canonical-request.js';
import { basicFormat, readPresentedSignature, type PresentedSignature } from './presented-signature.js';
import { incompleteSignature, invalidSignature, signatureMismatch } from './signature-errors.js';

/** What a service demands of the signatures it accepts. */
export interface SignatureRules {
  /** Signing name: `ecr`, `sts`, `iam`, … */
  service: string;
  /** Regions served; absent: any. */
  regions?: readonly string[] | undefined;
}

/** The credential of a request, well formed, in time and in scope, but with its signature still to be verified. */
export interface ParsedCredential {
  readonly accessKeyId: string;
  readonly region: string;
  /** Present when the key is a temporary one. */
  readonly sessionToken: string | undefined;
  readonly signature: PresentedSignature;
  readonly request: WireRequest;
}

/** How far the clocks of client and service may lie apart, and so how long a captured request can be replayed. */
const CLOCK_SKEW_MINUTES = 15;
const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';
const TERMINATOR = 'aws4_request';

/** Some signers send it unsigned because proxies rewrite it; nothing here reads it. */
const MAY_BE_UNSIGNED = new Set(['x-amz-user-agent']);

/**
 * First phase of Signature Version 4, before the body is read: all that the head of the request can be refused for.
 *
 * `host` and every `x-amz-*` header that is present must be signed, as the signing specification demands: whoever
 * captures a request can then neither send it elsewhere nor give it another operation (`x-amz-target`).
 *
 * @throws RegistryError MissingAuthenticationToken, IncompleteSignature, InvalidSignature
 */
export function parseCredential(
  request: WireRequest,
  rules: SignatureRules,
  now = new Date(),
): ParsedCredential {
  const signature = readOrRefuse(request);
  const [accessKeyId, date, region, service, terminator] = credentialElements(signature.credential);
  assertScope({ date, region, service, terminator }, signature, rules);
  assertHeadersSigned(request, signature.signedHeaders);
  assertInTime(signature, now);
  return { accessKeyId, region, sessionToken: signature.sessionToken, signature, request };
}

/**
 * Second phase, once the body is known.
 * @param secret of the access key that the credential names
 * @param payloadSha256 of the raw body, lower-case hex
 * @throws RegistryError InvalidSignature
 */
export function verify(parsed: ParsedCredential, secret: string, payloadSha256: string): void {
  const { signature, request } = parsed;
  const expected = createHmac('sha256', signingKey(secret, signature.credential))
    .update(stringToSign(request, signature, claimedPayloadHash(signature, payloadSha256)))
    .digest();
  const presented = /^[0-9a-f]{64}$/.test(signature.signature)
    ? Buffer.from(signature.signature, 'hex')
    : Buffer.alloc(expected.length);
  if (!timingSafeEqual(expected, presented)) throw signatureMismatch();
}

function readOrRefuse(request: WireRequest): PresentedSignature {
  try {
    return readPresentedSignature(request);
  } catch (error) {
    throw error instanceof NotCanonical ? signatureMismatch() : error;
  }
}

function credentialElements(credential: string): [string, string, string, string, string] {
  const elements = credential.split('/');
  if (elements.length !== 5 || elements.includes('')) {
    throw incompleteSignature(
      'Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term',
    );
  }
  return elements as [string, string, string, string, string];
}

function assertScope(
  scope: { date: string; region: string; service: string; terminator: string },
  signature: PresentedSignature,
  rules: SignatureRules,
): void {
  const faults: string[] = [];
  if (!/^[0-9a-z-]{2,25}$/.test(scope.region) || rules.regions?.includes(scope.region) === false) {
    faults.push('Credential should be scoped to a valid region.');
  }
  if (scope.service !== rules.service) {
    faults.push(`Credential should be scoped to correct service: '${rules.service}'.`);
  }
  if (scope.terminator !== TERMINATOR) {
    faults.push(`Credential should be scoped with a valid terminator: '${TERMINATOR}'.`);
  }
  const signedOn = signature.timestamp.slice(0, 8);
  if (scope.date !== signedOn) {
    faults.push(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${scope.date}' != '${signedOn}', from '${signature.timestamp}'.`,
    );
  }
  if (faults.length > 0) throw invalidSignature(faults.join(' '));
}

function assertHeadersSigned(request: WireRequest, signedHeaders: readonly string[]): void {
  const signed = new Set(signedHeaders);
  if (signed.size !== signedHeaders.length) throw signatureMismatch();
  if (!signed.has('host')) {
    throw invalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
  }
  for (const name of headerValues(request.rawHeaders).keys()) {
    if (name.startsWith('x-amz-') && !signed.has(name) && !MAY_BE_UNSIGNED.has(name)) {
      throw invalidSignature(`'${name}' must be a 'SignedHeader' in the AWS Authorization.`);
    }
  }
}

function assertInTime(signature: PresentedSignature, now: Date): void {
  const signedAt = signature.signedAt.getTime();
  const skew = CLOCK_SKEW_MINUTES * 60_000;
  const lifetime = signature.expiresInSeconds === undefined ? skew : signature.expiresInSeconds * 1000;
  const at = basicFormat(now);
  if (signedAt + lifetime < now.getTime()) {
    const limit = basicFormat(new Date(now.getTime() - lifetime));
    const span =
      signature.expiresInSeconds === undefined
        ? `${CLOCK_SKEW_MINUTES} min.`
        : `${signature.expiresInSeconds} s.`;
    throw invalidSignature(
      `Signature expired: ${signature.timestamp} is now earlier than ${limit} (${at} - ${span})`,
    );
  }
  if (signedAt - skew > now.getTime()) {
    const limit = basicFormat(new Date(now.getTime() + skew));
    throw invalidSignature(
      `Signature not yet current: ${signature.timestamp} is still later than ${limit} (${at} + ${CLOCK_SKEW_MINUTES} min.)`,
    );
  }
}

/**
 * What the signer claims the body hashes to. Without the header it is always the real hash that must have been signed;
 * the header counts only because {@link parseCredential} let through none that is not itself signed.
 */
function claimedPayloadHash(signature: PresentedSignature, payloadSha256: string): string {
  const claim = signature.payloadHash;
  if (claim === undefined || claim === payloadSha256) return payloadSha256;
  if (claim === UNSIGNED_PAYLOAD) return UNSIGNED_PAYLOAD;
  throw signatureMismatch();
}

function stringToSign(request: WireRequest, signature: PresentedSignature, payloadHash: string): string {
  const scope = signature.credential.slice(signature.credential.indexOf('/') + 1);
  try {
    const canonical = canonicalRequest(request, signature.signedHeaders, payloadHash);
    return [signature.algorithm, signature.timestamp, scope, sha256Hex(canonical)].join('\n');
  } catch (error) {
    throw error instanceof NotCanonical ? signatureMismatch() : error;
  }
}

function signingKey(secret: string, credential: string): Buffer {
  const [, ...scope] = credential.split('/');
  return scope.reduce(
    (key, element) => createHmac('sha256', key).update(element).digest(),
    Buffer.from(`AWS4${secret}`),
  );
}
