import { type ECRClient, ServerException } from '@aws-sdk/client-ecr';
import type { RegistryClient } from '../support/registry-client.js';
import { uploadOf } from '../support/pushes.js';

/** How a request may end while something behind the registry is sick. Anything else fails the test. */
export type Outcome = 'done' | 'retry later';

/** Of a call at the ECR door: ServerException is what its model has for "try again". */
export async function ecrOutcome(call: Promise<unknown>): Promise<Outcome> {
  try {
    await call;
    return 'done';
  } catch (error) {
    if (!(error instanceof ServerException) || (error.$metadata.httpStatusCode ?? 0) < 500) throw error;
    expectNothingTold(error.message);
    return 'retry later';
  }
}

/** Of a request at the OCI door: 503 UNKNOWN, and when to come again. */
export async function ociOutcome(call: Promise<Response>): Promise<Outcome> {
  const response = await call;
  const text = await response.text();
  if (response.ok) return 'done';
  const said = `${response.status} ${response.headers.get('retry-after')} ${text}`;
  if (response.status !== 503 || !/^[0-9]+$/.test(response.headers.get('retry-after') ?? ''))
    throw new Error(`Not an answer that invites to come again: ${said}`);
  const { errors } = JSON.parse(text) as { errors: { code: string; message: string }[] };
  if (errors[0]?.code !== 'UNKNOWN') throw new Error(`Not the code of a passing fault: ${said}`);
  expectNothingTold(errors[0].message);
  return 'retry later';
}

function expectNothingTold(message: string): void {
  if (/prisma|postgres|sql|minio|bucket|127\.0\.0\.1|ECONN|ENOSPC|timeout of/i.test(message))
    throw new Error(`The message tells of the inside: ${message}`);
}

/** The steps of a push at one door, each of which may be repeated as that door's clients do. */
export interface Steps {
  begin(): Promise<Outcome>;
  /** Sends bytes that begin at an offset. */
  append(bytes: Buffer, firstByte: number): Promise<Outcome>;
  complete(digest: string): Promise<Outcome>;
  /** Known once begun. */
  readonly upload: string;
}

export function ecrSteps(ecr: ECRClient, repository: string, begin: () => Promise<string>): Steps {
  let upload = '';
  return {
    get upload() {
      return upload;
    },
    begin: () => ecrOutcome(begin().then((id) => (upload = id))),
    append: (bytes, firstByte) => ecrOutcome(uploadOf(ecr, repository, upload).part(bytes, firstByte)),
    complete: (digest) => ecrOutcome(uploadOf(ecr, repository, upload).complete(digest)),
  };
}

export function ociSteps(registry: RegistryClient, repository: string): Steps {
  let upload = '';
  const path = (): string => `/v2/${repository}/blobs/uploads/${upload}`;
  return {
    get upload() {
      return upload;
    },
    begin: () =>
      ociOutcome(
        registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' }).then((response) => {
          upload = response.headers.get('docker-upload-uuid') ?? '';
          return response;
        }),
      ),
    append: (bytes, firstByte) =>
      ociOutcome(
        registry.fetchOci(path(), {
          method: 'PATCH',
          headers: { 'content-range': `${firstByte}-${firstByte + bytes.length - 1}` },
          body: new Uint8Array(bytes),
        }),
      ),
    complete: (digest) => ociOutcome(registry.fetchOci(`${path()}?digest=${digest}`, { method: 'PUT' })),
  };
}
