import { ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr';
import { refuseUndeclaredErrors } from './declared-errors.js';

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

/** How a test speaks to a registry, whichever process it runs in. */
export interface RegistryClient {
  /** Without a slash at the end. */
  url: string;
  credentials: Credentials;
  /** The real SDK with the root key. */
  ecr: ECRClient;
  /** An SDK of another Region, endpoint path or key. */
  ecrWith(options: { region?: string; credentials?: Credentials }): ECRClient;
  /** As GetAuthorizationToken gave it: base64 of `AWS:<password>`. */
  token: string;
  /** `fetch` with the token, unless the headers bring an Authorization of their own. `path` begins with a slash. */
  fetchOci(path: string, init?: RequestInit): Promise<Response>;
}

export async function connectTo(url: string, credentials: Credentials): Promise<RegistryClient> {
  const ecrWith: RegistryClient['ecrWith'] = (options) =>
    refuseUndeclaredErrors(
      new ECRClient({ endpoint: url, region: 'us-east-1', credentials, maxAttempts: 1, ...options }),
    );
  const ecr = ecrWith({});
  const { authorizationData } = await ecr.send(new GetAuthorizationTokenCommand({}));
  const token = authorizationData?.[0]?.authorizationToken;
  if (!token) throw new Error('GetAuthorizationToken gave no token');
  return {
    url,
    credentials,
    ecr,
    ecrWith,
    token,
    fetchOci(path, init = {}) {
      const headers = new Headers(init.headers);
      if (!headers.has('authorization')) headers.set('authorization', `Basic ${token}`);
      const streamed = init.body instanceof ReadableStream;
      return fetch(new URL(path, url), {
        ...init,
        headers,
        ...(streamed && { duplex: 'half' }),
      });
    },
  };
}
