import { isAbsolute } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ConfigError, loadConfig } from './config.js';

const SECRET = 'k7Zq0vXb2mWc9sTf4hRj6nPd8gLy1aEu';
const S3 = {
  STOWAGE_S3_ENDPOINT: 'http://127.0.0.1:9000',
  STOWAGE_S3_BUCKET: 'layers',
  STOWAGE_S3_ACCESS_KEY_ID: 'stowage',
  STOWAGE_S3_SECRET_ACCESS_KEY: SECRET,
};
const ROOT = { STOWAGE_ROOT_ACCESS_KEY_ID: 'AKIATEST', STOWAGE_ROOT_SECRET_ACCESS_KEY: SECRET };

function faultsOf(env: Record<string, string>): string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

describe('the configuration', () => {
  it('needs nothing to be set', () => {
    const config = loadConfig({});
    expect(config).toMatchObject({
      STOWAGE_HOST: '127.0.0.1',
      STOWAGE_PORT: 5160,
      STOWAGE_PUBLIC_URL: 'http://localhost:5160',
      STOWAGE_ACCOUNT_ID: '000000000000',
      STOWAGE_REGION: 'us-east-1',
      STOWAGE_ROLE: 'both',
      rootKey: null,
      s3: null,
    });
    expect(isAbsolute(config.dataDir)).toBe(true);
    expect(config.STOWAGE_QUOTA_REGISTRY_BYTES).toBeUndefined();
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('shows the port in the public URL, unless that is set', () => {
    expect(loadConfig({ STOWAGE_PORT: '8080' }).STOWAGE_PUBLIC_URL).toBe('http://localhost:8080');
    expect(loadConfig({ STOWAGE_PUBLIC_URL: 'https://r.test' }).STOWAGE_PUBLIC_URL).toBe('https://r.test');
  });

  it('takes the store and the root key when they are whole', () => {
    const { s3, rootKey } = loadConfig({ ...S3, ...ROOT, DATABASE_URL: 'postgres://db/stowage' });
    expect(s3).toEqual({
      endpoint: S3.STOWAGE_S3_ENDPOINT,
      publicEndpoint: S3.STOWAGE_S3_ENDPOINT,
      bucket: 'layers',
      region: 'us-east-1',
      accessKeyId: 'stowage',
      secretAccessKey: SECRET,
    });
    expect(rootKey).toEqual({ accessKeyId: 'AKIATEST', secretAccessKey: SECRET });
    const publicEndpoint = 'https://layers.test';
    expect(loadConfig({ ...S3, STOWAGE_S3_PUBLIC_ENDPOINT: publicEndpoint }).s3).toMatchObject({
      publicEndpoint,
    });
  });

  it('reads the undelete window with a unit, or in hours', () => {
    const seconds = (window: string): number =>
      loadConfig({ STOWAGE_UNDELETE_WINDOW: window }).undeleteSeconds;
    expect(loadConfig({}).undeleteSeconds).toBe(86_400);
    expect(['0', '90s', '15m', '24h', '7d', '36', '1.5h'].map(seconds)).toEqual([
      0, 90, 900, 86_400, 604_800, 129_600, 5_400,
    ]);
    for (const fault of ['-1h', '1w', 'h', '1 h', '1e3', '12345678'])
      expect(faultsOf({ STOWAGE_UNDELETE_WINDOW: fault })).toEqual([
        expect.stringMatching(/^STOWAGE_UNDELETE_WINDOW must be 0 or a number of hours, or a number with/),
      ]);
  });

  it('names every fault at once, each with its variable', () => {
    const faults = faultsOf({
      STOWAGE_PORT: 'http',
      STOWAGE_ACCOUNT_ID: '123',
      STOWAGE_REGION: 'US EAST',
      STOWAGE_LOG_LEVEL: 'loud',
      STOWAGE_TOKEN_HOURS: '13',
      STOWAGE_QUOTA_TAGS_PER_IMAGE: '-1',
      STOWAGE_QUOTA_PART_BYTES: '20971521',
      STOWAGE_MAX_BYTES_IN_FLIGHT: '1000',
      STOWAGE_PUBLIC_URL: 'ftp://r.test',
      STOWAGE_PROT: '5160',
      STOWAGE_S3_BUCKET: 'layers',
      STOWAGE_ROOT_ACCESS_KEY_ID: 'AKIATEST',
    });
    for (const name of [
      'STOWAGE_PORT',
      'STOWAGE_ACCOUNT_ID',
      'STOWAGE_REGION',
      'STOWAGE_LOG_LEVEL',
      'STOWAGE_TOKEN_HOURS',
      'STOWAGE_QUOTA_TAGS_PER_IMAGE',
      'STOWAGE_QUOTA_PART_BYTES',
      'STOWAGE_MAX_BYTES_IN_FLIGHT',
      'STOWAGE_PUBLIC_URL',
      'STOWAGE_PROT',
      'STOWAGE_S3_ENDPOINT',
      'STOWAGE_ROOT_SECRET_ACCESS_KEY',
    ])
      expect(faults.filter((fault) => fault.startsWith(`${name} `))).toHaveLength(1);
    expect(() => loadConfig({ STOWAGE_PORT: 'http', STOWAGE_PROT: '1' })).toThrow(
      /has 2 fault\(s\):\n {2}- STOWAGE_PORT .+\n {2}- STOWAGE_PROT is not a setting$/,
    );
  });

  it('knows every variable of its own, and leaves those of others alone', () => {
    expect(faultsOf({ STOWAGE_NONSENSE: '' })).toEqual(['STOWAGE_NONSENSE is not a setting']);
    expect(faultsOf({ PATH: '/bin', PGHOST: 'db', STOWAGE_TEST_S3_ENDPOINT: 'x', NODE_OPTIONS: '' })).toEqual(
      [],
    );
  });

  it.each([
    'STOWAGE_PORT',
    'STOWAGE_QUOTA_IMAGES_PER_REPOSITORY',
    'STOWAGE_QUOTA_REPOSITORY_BYTES',
    'STOWAGE_SHUTDOWN_SECONDS',
    'STOWAGE_HOST',
    'STOWAGE_PUBLIC_URL',
    'DATABASE_URL',
  ])('takes %s without a value for a mistake, not for zero', (name) => {
    for (const empty of ['', ' ']) expect(faultsOf({ [name]: empty })).toContain(`${name} is set but empty`);
  });

  it.each([
    'changeme',
    'change-me-please-change-me-please',
    'EXAMPLEKEY0000000000000000000000',
    'password-password-password-passw',
    'x'.repeat(40),
  ])('refuses %s for a secret', (secret) => {
    const example = expect.stringMatching(/ is an example value; choose a secret of your own$/);
    expect(faultsOf({ ...ROOT, STOWAGE_ROOT_SECRET_ACCESS_KEY: secret })).toContainEqual(example);
    expect(faultsOf({ ...S3, STOWAGE_S3_SECRET_ACCESS_KEY: secret })).toContainEqual(example);
    expect(faultsOf({ DATABASE_URL: `postgres://u:${secret}@db/x` })).toContainEqual(example);
  });

  it('refuses secrets that are short, and does not repeat them', () => {
    const short: Record<string, string>[] = [
      { ...ROOT, STOWAGE_ROOT_SECRET_ACCESS_KEY: 'k7Zq0vX' },
      { ...S3, STOWAGE_S3_SECRET_ACCESS_KEY: 'k7Zq0vX' },
      { DATABASE_URL: 'postgres://u:k7Zq0vX@db/x' },
    ];
    for (const env of short) {
      const faults = faultsOf(env);
      expect(faults).toContainEqual(expect.stringContaining('has fewer than 8 characters'));
      expect(faults.join()).not.toContain('k7Zq0vX');
    }
    expect(faultsOf({ ...ROOT, STOWAGE_ROOT_SECRET_ACCESS_KEY: SECRET.slice(1) })).toEqual([
      'STOWAGE_ROOT_SECRET_ACCESS_KEY must have at least 32 characters',
    ]);
  });

  it('survives a database URL whose password is no text', () => {
    expect(() => faultsOf({ DATABASE_URL: 'postgres://u:%zz@db/x' })).not.toThrow();
  });

  it.each(Object.keys(S3))('misses %s when only the rest of the store is there', (name) => {
    const { [name as keyof typeof S3]: _, ...rest } = S3;
    expect(faultsOf(rest)).toContain(`${name} is missing beside its siblings`);
  });

  it('wants the root key to be given where nothing is kept on this machine', () => {
    const faults = faultsOf({ ...S3, DATABASE_URL: 'postgres://db/stowage' });
    expect(faults).toHaveLength(2);
    for (const name of Object.keys(ROOT))
      expect(faults).toContain(`${name} is missing; it must be given when database and store are external`);
    expect(faultsOf(S3)).toEqual([]);
    expect(faultsOf({ DATABASE_URL: 'postgres://db/stowage' })).toEqual([]);
  });

  it('reads the Regions as a list', () => {
    expect(loadConfig({ STOWAGE_REGIONS: 'us-east-1, eu-west-1,' }).STOWAGE_REGIONS).toEqual([
      'us-east-1',
      'eu-west-1',
    ]);
    expect(faultsOf({ STOWAGE_REGIONS: 'us-east-1,EU' })).toHaveLength(1);
  });
});
