import { createHash } from 'node:crypto';
import { HttpRequest } from '@smithy/core/protocols';
import { SignatureV4 } from '@smithy/signature-v4';
import type { WireRequest } from '../../src/identity/authentication/canonical-request.js';
import { parseCredential, verify } from '../../src/identity/authentication/sigv4.js';
import { RegistryError } from '../../src/domain/registry-error.js';
import { Sha256 } from '../support/sha256.js';

export const KEY = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
};
export const NOW = new Date('2026-03-04T05:06:07Z');
export /** Texts end in details the tests do not repeat. */
const MISMATCH = /^The request signature we calculated does not match/;

export const RULES = { service: 'ecr' };

export interface Draft {
  method?: string;
  path?: string;
  query?: Record<string, string | string[]>;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

export function signer(
  options: { service?: string; region?: string; sessionToken?: string; checksum?: boolean } = {},
) {
  const { sessionToken, service = 'ecr', region = 'us-east-1', checksum = false } = options;
  const credentials = sessionToken === undefined ? KEY : { ...KEY, sessionToken };
  return new SignatureV4({ service, region, credentials, sha256: Sha256, applyChecksum: checksum });
}

export function draftRequest(draft: Draft): HttpRequest {
  const { method = 'POST', path = '/', query = {}, body = '{}' } = draft;
  const headers = { host: 'localhost:5160', 'x-amz-target': 'Ecr.Op', ...draft.headers };
  return new HttpRequest({ method, path, query, headers, body, hostname: 'localhost', protocol: 'http:' });
}

export async function signed(
  draft: Draft = {},
  options: Parameters<typeof signer>[0] = {},
  at = NOW,
): Promise<WireRequest> {
  return toWire(await signer(options).sign(draftRequest(draft), { signingDate: at }));
}

export async function presigned(draft: Draft = {}, expiresIn = 300, at = NOW): Promise<WireRequest> {
  return toWire(await signer().presign(draftRequest(draft), { signingDate: at, expiresIn }));
}

export function toWire(request: unknown): WireRequest {
  const { method, path, query, headers } = request as HttpRequest;
  // Spelled more loosely than the canonical form: it leaves !'()* as they are.
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value ?? ''].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`),
  );
  return {
    method,
    url: pairs.length > 0 ? `${path}?${pairs.join('&')}` : path,
    rawHeaders: Object.entries(headers).flat(),
  };
}

export function sha256(body: string | Uint8Array = '{}'): string {
  return createHash('sha256').update(body).digest('hex');
}

/** Both phases; the error's code and message, or null when the request is let through. */
export function refusal(
  request: WireRequest,
  options: {
    body?: string | Uint8Array;
    secret?: string;
    now?: Date;
    rules?: typeof RULES & { regions?: string[] };
  } = {},
): { code: string; message: string } | null {
  const { body = '{}', secret = KEY.secretAccessKey, now = NOW, rules = RULES } = options;
  try {
    verify(parseCredential(request, rules, now), secret, sha256(body));
    return null;
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    return { code: error.code, message: error.message };
  }
}

export function withHeader(
  request: WireRequest,
  name: string,
  change: (value: string) => string | null,
): WireRequest {
  const rawHeaders: string[] = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const header = request.rawHeaders[index]!;
    const value = request.rawHeaders[index + 1]!;
    const changed = header.toLowerCase() === name ? change(value) : value;
    if (changed !== null) rawHeaders.push(header, changed);
  }
  return { ...request, rawHeaders };
}

export const adding = (request: WireRequest, ...headers: string[]): WireRequest => ({
  ...request,
  rawHeaders: [...request.rawHeaders, ...headers],
});
