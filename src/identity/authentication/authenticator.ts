import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { CONFIG, type Config } from '../../config/config.js';
import { isEcrBody } from '../../protocols/ecr/ecr-body.js';
import type { Door } from '../../protocols/route-address.js';
import type { Caller } from '../caller.js';
import { AccessKeys, type AccessKey } from '../keys/access-keys.js';
import { RegistryTokens, TOKEN_USER } from './registry-tokens.js';
import { missingAuthenticationToken, unrecognizedClient } from './signature-errors.js';
import { parseCredential, verify, type ParsedCredential } from './sigv4.js';

/** A caller whose signature is verified once the body is known. */
interface Signed {
  credential: ParsedCredential;
  key: AccessKey;
}

const SIGNING_NAME = 'ecr';
const NO_BODY_SHA256 = createHash('sha256').digest('hex');

/** Finds out who sends a request, in two steps: what its head tells before the body is read, and the rest after. */
@Injectable()
export class Authenticator {
  /** What {@link admit} found, so that {@link authenticate} need not look twice; gone with the request. */
  readonly #admitted = new WeakMap<FastifyRequest, Caller | Signed>();

  constructor(
    private readonly accessKeys: AccessKeys,
    private readonly tokens: RegistryTokens,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** @throws RegistryError of the authentication family when the head of the request is reason enough to refuse it */
  async admit(request: FastifyRequest, door: Door): Promise<void> {
    this.#admitted.set(request, door === 'ecr' ? await this.signed(request) : this.loggedIn(request));
  }

  /** @throws RegistryError of the authentication family */
  async authenticate(request: FastifyRequest, door: Door): Promise<Caller> {
    if (!this.#admitted.has(request)) await this.admit(request, door);
    const admitted = this.#admitted.get(request)!;
    if (!('credential' in admitted)) return admitted;
    verify(admitted.credential, admitted.key.secretAccessKey, payloadSha256(request));
    return { principal: admitted.key.principal, region: admitted.credential.region };
  }

  private async signed(request: FastifyRequest): Promise<Signed> {
    const credential = parseCredential(
      { method: request.method, url: request.originalUrl, rawHeaders: request.raw.rawHeaders },
      { service: SIGNING_NAME, regions: this.config.STOWAGE_REGIONS },
    );
    const key = await this.accessKeys.find(credential.accessKeyId, credential.sessionToken);
    if (!key) throw unrecognizedClient();
    return { credential, key };
  }

  private loggedIn(request: FastifyRequest): Caller {
    const caller = this.tokens.verify(basicPassword(request.headers.authorization));
    if (this.config.STOWAGE_REGIONS?.includes(caller.region) === false) throw unrecognizedClient();
    return caller;
  }
}

/**
 * The password of Basic credentials (RFC 7617) whose user is `AWS`. ECR answers 400 to another user or to garbage; here
 * it is the 401 with a challenge that the distribution specification has, after which clients ask for credentials
 * again where they give up on a 400.
 */
function basicPassword(authorization: string | undefined): string {
  if (authorization === undefined) throw missingAuthenticationToken();
  const encoded = /^basic +([A-Za-z0-9+/=_-]+)$/i.exec(authorization)?.[1] ?? '';
  const credentials = Buffer.from(encoded, 'base64').toString('utf8');
  if (!credentials.startsWith(`${TOKEN_USER}:`)) throw unrecognizedClient();
  return credentials.slice(TOKEN_USER.length + 1);
}

function payloadSha256(request: FastifyRequest): string {
  if (isEcrBody(request.body)) return request.body.payloadSha256;
  if (request.body === undefined || request.body === null) return NO_BODY_SHA256;
  throw new Error('The body of a signed request was read without its hash');
}
