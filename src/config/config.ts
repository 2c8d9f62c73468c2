/** Over 300 lines: every setting stands in one table, as the README shows them. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { DURATION, secondsOf } from './duration.js';

/** Thrown at start with every fault of the environment at once. */
export class ConfigError extends Error {
  constructor(readonly faults: string[]) {
    super(
      `The configuration has ${faults.length} fault(s):\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
    );
    this.name = 'ConfigError';
  }
}

const MEBIBYTE = 1024 * 1024;
const port = z.coerce.number().int().min(0).max(65535);
const count = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const bytes = count;
const optional = z.string().optional();
const region = z.string().regex(/^[0-9a-z-]{2,25}$/, 'must be a Region name');

/**
 * Every variable the service reads, with its default and one sentence. The table in the README is generated from this.
 */
export const environment = z.object({
  STOWAGE_HOST: z.string().min(1).default('127.0.0.1').describe('Address both doors listen on.'),
  STOWAGE_PORT: port.default(5160).describe('Port both doors listen on.'),
  STOWAGE_OPERATOR_HOST: z.string().min(1).default('127.0.0.1').describe('Address of the operator port.'),
  STOWAGE_OPERATOR_PORT: port.default(5161).describe('Port of `/livez`, `/readyz` and `/metrics`.'),
  STOWAGE_DATA_DIR: z
    .string()
    .min(1)
    .default('./data')
    .describe('Folder of everything kept on this machine: embedded database, layers, credentials.'),
  STOWAGE_PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'What `proxyEndpoint`, `repositoryUri` and download URLs show; absent: `http://localhost` with the port (`http://localhost:5160`).',
    ),
  STOWAGE_ACCOUNT_ID: z
    .string()
    .regex(/^[0-9]{12}$/, 'must be 12 digits')
    .default('000000000000')
    .describe('Account of the root key; the `registryId`.'),
  STOWAGE_REGION: region
    .default('us-east-1')
    .describe(
      'Region of the docker/OCI host in the commands the service prints; a login token from another Region reaches that Region’s registry.',
    ),
  STOWAGE_REGIONS: z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean),
    )
    .pipe(z.array(region).min(1))
    .optional()
    .describe('Regions served, comma-separated; absent: any Region a credential scope names.'),
  STOWAGE_ROOT_ACCESS_KEY_ID: z
    .string()
    .regex(/^[A-Za-z0-9_]{4,128}$/, 'must be 4 to 128 letters, digits or underscores')
    .optional()
    .describe('Access key id of the root principal; absent: created at first start.'),
  STOWAGE_ROOT_SECRET_ACCESS_KEY: z
    .string()
    .min(32, 'must have at least 32 characters')
    .optional()
    .describe(
      'Its secret, at least 32 characters. Tokens and download URLs are signed with keys derived from it.',
    ),
  STOWAGE_TOKEN_HOURS: z.coerce
    .number()
    .positive()
    .max(12)
    .default(12)
    .describe('Lifetime of a registry login token, in hours.'),
  DATABASE_URL: optional.describe('PostgreSQL to use; absent: an embedded PostgreSQL under the data folder.'),
  STOWAGE_DATABASE_CONNECTIONS: z.coerce
    .number()
    .int()
    .min(2)
    .max(500)
    .default(16)
    .describe('Most connections one process opens.'),
  STOWAGE_DATABASE_TIMEOUT_SECONDS: z.coerce
    .number()
    .min(1)
    .max(3600)
    .default(30)
    .describe(
      'How long the database may work on one statement; it waits for a lock a third of that. Seconds.',
    ),
  STOWAGE_S3_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('S3-compatible endpoint for layers; absent with no bucket: files under the data folder.'),
  STOWAGE_S3_PUBLIC_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'The same store as clients reach it, for presigned URLs; absent: STOWAGE_S3_ENDPOINT. Its host name must not be that of STOWAGE_PUBLIC_URL.',
    ),
  STOWAGE_S3_BUCKET: optional.describe('Bucket of the layers; created if absent.'),
  STOWAGE_S3_REGION: region.default('us-east-1').describe('Region requests to the store are signed for.'),
  STOWAGE_S3_ACCESS_KEY_ID: optional.describe('Access key of the store.'),
  STOWAGE_S3_SECRET_ACCESS_KEY: optional.describe('Secret key of the store.'),
  STOWAGE_S3_TIMEOUT_SECONDS: z.coerce
    .number()
    .min(1)
    .max(3600)
    .default(20)
    .describe(
      'How long the store may be silent before a request to it has failed; repetitions begin within one and a half times that. Seconds.',
    ),
  STOWAGE_BLOB_DELIVERY: z
    .enum(['redirect', 'stream'])
    .default('redirect')
    .describe(
      'Pulls are redirected to presigned store URLs where the store can, or streamed through the service.',
    ),
  STOWAGE_ROLE: z
    .enum(['api', 'worker', 'both'])
    .default('both')
    .describe('What this process does: serve requests, run background jobs, or both.'),
  STOWAGE_MAX_BYTES_IN_FLIGHT: bytes
    .min(64 * MEBIBYTE, 'must be at least 67108864')
    .default(160 * MEBIBYTE)
    .describe('Most layer bytes held in memory by one process; further uploads wait. Bytes.'),
  STOWAGE_MAX_CONNECTIONS: z.coerce
    .number()
    .int()
    .min(64)
    .max(1_000_000)
    .default(4_000)
    .describe(
      'Most client connections of one process, at most half of the files it may open; beyond that the longest idle one is closed for a new one.',
    ),
  STOWAGE_UPLOAD_EXPIRY_HOURS: z.coerce
    .number()
    .positive()
    .default(24)
    .describe('An upload without a new byte for so long expires. Hours.'),
  STOWAGE_UNREFERENCED_LAYER_HOURS: z.coerce
    .number()
    .positive()
    .max(87_600)
    .default(24)
    .describe('A layer no image of its repository references leaves the repository after so long. Hours.'),
  STOWAGE_UNDELETE_WINDOW: z
    .string()
    .regex(
      DURATION,
      'must be 0 or a number of hours, or a number with s, m, h or d behind it, like 24h or 7d',
    )
    .default('24h')
    .describe('How long a deleted image can be brought back, like `24h` or `7d`; `0`: not at all.'),
  STOWAGE_ORPHAN_GRACE_HOURS: z.coerce
    .number()
    .positive()
    .default(24)
    .describe('Stored objects without a record are removed once they are so old. Hours.'),
  STOWAGE_COLLECT_OBJECTS_PER_SECOND: z.coerce
    .number()
    .positive()
    .max(100_000)
    .default(200)
    .describe('Layers and stored objects the collector removes in one second, at most.'),
  STOWAGE_SCRUB_DAYS: z.coerce
    .number()
    .min(0)
    .max(3650)
    .default(30)
    .describe('Every layer is read and hashed again once in so many days; 0: never.'),
  STOWAGE_SCRUB_MIB_PER_SECOND: z.coerce
    .number()
    .min(1)
    .max(100_000)
    .default(50)
    .describe('How fast that reading may go, over the whole deployment. MiB per second.'),
  STOWAGE_DRAIN_SECONDS: z.coerce
    .number()
    .min(0)
    .max(3600)
    .default(0)
    .describe(
      'How long requests are still taken after SIGTERM while `/readyz` already says no, for balancers that learn it only there. Seconds.',
    ),
  STOWAGE_SHUTDOWN_SECONDS: z.coerce
    .number()
    .min(0)
    .max(3600)
    .default(20)
    .describe(
      'How long running requests may take to finish after SIGTERM, and after any drain time. Seconds.',
    ),
  STOWAGE_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Least severe log line written.'),
  STOWAGE_QUOTA_REPOSITORIES_PER_REGISTRY: count.default(100_000).describe('Repositories in one registry.'),
  STOWAGE_QUOTA_IMAGES_PER_REPOSITORY: count.default(100_000).describe('Images in one repository.'),
  STOWAGE_QUOTA_TAGS_PER_IMAGE: count.default(1_000).describe('Tags of one image.'),
  STOWAGE_QUOTA_LAYERS_PER_IMAGE: count.default(4_000).describe('Layers one manifest may name.'),
  STOWAGE_QUOTA_LAYER_BYTES: bytes.default(52_000 * MEBIBYTE).describe('Size of one layer. Bytes.'),
  STOWAGE_QUOTA_PARTS_PER_LAYER: count.default(4_200).describe('UploadLayerPart calls of one upload.'),
  STOWAGE_QUOTA_PART_BYTES: bytes
    .max(20 * MEBIBYTE, 'must be at most 20971520')
    .default(20 * MEBIBYTE)
    .describe('Size of one UploadLayerPart. Bytes.'),
  STOWAGE_QUOTA_OPEN_UPLOADS_PER_REPOSITORY: count
    .default(10_000)
    .describe('Uploads of one repository that are open at once.'),
  STOWAGE_QUOTA_REPOSITORY_BYTES: bytes
    .optional()
    .describe('Layer bytes stored in one repository; absent: no limit. Bytes.'),
  STOWAGE_QUOTA_REGISTRY_BYTES: bytes
    .optional()
    .describe('Layer bytes stored over all repositories of one registry; absent: no limit. Bytes.'),
});

export type Environment = z.output<typeof environment>;

/** The settings of one process, validated and frozen. */
export interface Config extends Environment {
  readonly STOWAGE_PUBLIC_URL: string;
  /** Absolute. */
  readonly dataDir: string;
  readonly rootKey: { accessKeyId: string; secretAccessKey: string } | null;
  readonly s3: S3Settings | null;
  /** STOWAGE_UNDELETE_WINDOW in seconds; 0: deleted images are gone at once. */
  readonly undeleteSeconds: number;
  /** True for the service; false for a command, which opens no port, runs no job and may work beside the service. */
  readonly serves: boolean;
}

export interface S3Settings {
  endpoint: string;
  publicEndpoint: string;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
}

/** Nest token of the {@link Config}. */
export const CONFIG = Symbol('CONFIG');

/** S3 stores take no shorter ones either. */
const MIN_SECRET_LENGTH = 8;
const EXAMPLE_SECRET = /change.?me|example|replace|placeholder|password|secret.?here|^(.)\1+$/i;

/** @throws ConfigError naming every fault found. */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const known = Object.keys(environment.shape);
  const faults: string[] = [];
  // A variable without a value is a mistake: taken as a number it would be zero, and as a quota forbid everything.
  const isEmpty = (name: string): boolean => env[name]?.trim() === '';
  const given = known.map((name) => [name, isEmpty(name) ? undefined : env[name]]);
  faults.push(...known.filter(isEmpty).map((name) => `${name} is set but empty`));
  const result = environment.safeParse(Object.fromEntries(given));
  if (!result.success)
    faults.push(...result.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`));
  for (const name of Object.keys(env)) {
    if (name.startsWith('STOWAGE_') && !name.startsWith('STOWAGE_TEST_') && !known.includes(name))
      faults.push(`${name} is not a setting`);
  }
  faults.push(...secretFaults(env), ...togetherFaults(env));
  if (!result.success || faults.length > 0) throw new ConfigError([...new Set(faults)]);
  const values = result.data;
  const { STOWAGE_ROOT_ACCESS_KEY_ID: accessKeyId, STOWAGE_ROOT_SECRET_ACCESS_KEY: secretAccessKey } = values;
  return Object.freeze({
    ...values,
    STOWAGE_PUBLIC_URL: values.STOWAGE_PUBLIC_URL ?? `http://localhost:${values.STOWAGE_PORT}`,
    dataDir: resolve(values.STOWAGE_DATA_DIR),
    rootKey: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : null,
    s3: s3Settings(values),
    undeleteSeconds: secondsOf(values.STOWAGE_UNDELETE_WINDOW),
    serves: true,
  });
}

function secretFaults(env: NodeJS.ProcessEnv): string[] {
  const secrets: [name: string, secret: string | undefined][] = [
    ['STOWAGE_ROOT_SECRET_ACCESS_KEY', env['STOWAGE_ROOT_SECRET_ACCESS_KEY']],
    ['STOWAGE_S3_SECRET_ACCESS_KEY', env['STOWAGE_S3_SECRET_ACCESS_KEY']],
    ['The password in DATABASE_URL', passwordOf(env['DATABASE_URL'])],
  ];
  return secrets.flatMap(([name, secret]) => {
    if (!secret) return [];
    if (EXAMPLE_SECRET.test(secret)) return [`${name} is an example value; choose a secret of your own`];
    return secret.length < MIN_SECRET_LENGTH
      ? [`${name} has fewer than ${MIN_SECRET_LENGTH} characters`]
      : [];
  });
}

function passwordOf(url: string | undefined): string | undefined {
  if (url === undefined || !URL.canParse(url)) return undefined;
  const { password } = new URL(url);
  try {
    return decodeURIComponent(password);
  } catch {
    return password;
  }
}

function togetherFaults(env: NodeJS.ProcessEnv): string[] {
  const faults: string[] = [];
  const s3 = [
    'STOWAGE_S3_ENDPOINT',
    'STOWAGE_S3_BUCKET',
    'STOWAGE_S3_ACCESS_KEY_ID',
    'STOWAGE_S3_SECRET_ACCESS_KEY',
  ];
  const root = ['STOWAGE_ROOT_ACCESS_KEY_ID', 'STOWAGE_ROOT_SECRET_ACCESS_KEY'];
  for (const group of [s3, root]) {
    const missing = group.filter((name) => !env[name]);
    if (missing.length > 0 && missing.length < group.length)
      faults.push(...missing.map((name) => `${name} is missing beside its siblings`));
  }
  // A process that keeps nothing on its own disk must not keep the only copy of a secret there.
  if (env['DATABASE_URL'] && env['STOWAGE_S3_BUCKET']) {
    faults.push(
      ...root
        .filter((name) => !env[name])
        .map((name) => `${name} is missing; it must be given when database and store are external`),
    );
  }
  return faults;
}

function s3Settings(values: Environment): S3Settings | null {
  const { STOWAGE_S3_ENDPOINT: endpoint, STOWAGE_S3_BUCKET: bucket } = values;
  if (!endpoint || !bucket) return null;
  return {
    endpoint,
    publicEndpoint: values.STOWAGE_S3_PUBLIC_ENDPOINT ?? endpoint,
    bucket,
    region: values.STOWAGE_S3_REGION,
    accessKeyId: values.STOWAGE_S3_ACCESS_KEY_ID!,
    secretAccessKey: values.STOWAGE_S3_SECRET_ACCESS_KEY!,
  };
}
