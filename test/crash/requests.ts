import type { ECRClient } from '@aws-sdk/client-ecr';
import type { RegistryClient } from '../support/registry-client.js';

/** The registry refused: the request was not carried out. */
export class Refused extends Error {
  constructor(
    /** As the door names it. */
    readonly code: string,
    readonly status: number,
    message: string,
  ) {
    super(`${status} ${code}: ${message}`);
  }
}

/** The registry answered that something of its own went wrong: whether the request was carried out is in doubt. */
export class Failed extends Error {}

/** There was no answer. */
export class Unanswered extends Error {}

type SentCommand<Output> = { send: (ecr: ECRClient, signal: AbortSignal) => Promise<Output> };

/** @throws Refused, Failed, Unanswered */
export async function askEcr<Output>(
  registry: RegistryClient,
  send: SentCommand<Output>['send'],
  signal: AbortSignal,
): Promise<Output> {
  try {
    return await send(registry.ecr, signal);
  } catch (error) {
    const { name, message, $metadata, cause } = error as Error & {
      $metadata?: { httpStatusCode?: number };
      cause?: unknown;
    };
    const status = $metadata?.httpStatusCode;
    if (message.endsWith('which it does not declare')) throw new Failed(message, { cause });
    if (status === undefined) throw new Unanswered(message, { cause: error });
    if (status >= 500 || status < 400) throw new Failed(`${status} ${name}: ${message}`, { cause: error });
    throw new Refused(name, status, message);
  }
}

/** @returns the headers of the answer @throws Refused, Failed, Unanswered */
export async function askOci(
  registry: RegistryClient,
  path: string,
  init: RequestInit,
  signal: AbortSignal,
): Promise<{ status: number; headers: Headers }> {
  let response: Response;
  try {
    response = await registry.fetchOci(path, { ...init, signal });
  } catch (error) {
    throw new Unanswered(String((error as Error).cause ?? error), { cause: error });
  }
  // The status alone is the answer; a body that is cut off takes nothing back.
  const text = await response.text().catch(() => '');
  if (response.ok) return response;
  if (response.status >= 500) throw new Failed(`${response.status}: ${text}`);
  const code = /"code":"(\w+)"/.exec(text)?.[1] ?? 'UNKNOWN';
  throw new Refused(code, response.status, text);
}

/** A body that stops half-way, for a client that is about to go away. */
export function stalling(bytes: Buffer): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.subarray(0, Math.ceil(bytes.length / 2)));
    },
  });
}
