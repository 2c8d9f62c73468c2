import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { chmod, link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Logger } from '@nestjs/common';
import type { Config } from '../../config/config.js';

const PROFILE = 'default';
const ID_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const logger = new Logger('RootKey');

/**
 * The access key of the root principal. Its secret also seeds every key the registry seals or signs with.
 * The secret is a private field behind an accessor, so that no log line or JSON of this object can hold it.
 */
export class RootKey {
  readonly #secretAccessKey: string;

  constructor(
    readonly accessKeyId: string,
    secretAccessKey: string,
  ) {
    this.#secretAccessKey = secretAccessKey;
  }

  get secretAccessKey(): string {
    return this.#secretAccessKey;
  }

  /**
   * From the configuration, else from `<dataDir>/credentials`, which is written with a random key at first start.
   * @throws Error naming the file when it cannot be read or does not hold a usable key
   */
  static async load(config: Pick<Config, 'rootKey' | 'dataDir'>): Promise<RootKey> {
    if (config.rootKey) return new RootKey(config.rootKey.accessKeyId, config.rootKey.secretAccessKey);
    const file = join(config.dataDir, 'credentials');
    const present = await readIfPresent(file);
    if (present !== null) {
      await closeToOthers(file);
      return parseCredentials(present, file);
    }
    await createCredentials(file);
    // Read back even by the process that wrote: of several first starts only one wins, and all must agree on its key.
    return parseCredentials(await readFile(file, 'utf8'), file);
  }
}

async function readIfPresent(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Links a complete, synced file into place, which fails if the name is taken: nobody ever sees or replaces half a key. */
async function createCredentials(file: string): Promise<void> {
  const folder = dirname(file);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}.tmp`;
  await writeSynced(draft, renderCredentials());
  try {
    await link(draft, file);
    logger.log(`Created the root access key in ${file}`);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  } finally {
    await unlink(draft);
  }
  await syncFolder(folder);
}

async function writeSynced(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A new name survives a power cut only once its folder is synced too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function closeToOthers(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o077) === 0) return;
  try {
    await chmod(file, 0o600);
    logger.warn(`${file} was readable by others; its mode is 600 now. Consider replacing the key.`);
  } catch {
    // A mounted secret may be read-only; refusing to start would not make it any more secret.
    logger.warn(`${file} is readable by others and its mode cannot be changed`);
  }
}

/** AWS shared-credentials format, so that the file can serve as AWS_SHARED_CREDENTIALS_FILE as it stands. */
function renderCredentials(): string {
  const id = Array.from({ length: 16 }, () => ID_ALPHABET[randomInt(ID_ALPHABET.length)]).join('');
  return [
    '# Root access key of this registry, created at first start. Login tokens and download URLs are signed with keys',
    '# derived from it: whoever replaces it invalidates them, and says so by "npm run root-key -- --accept". Point',
    '# AWS_SHARED_CREDENTIALS_FILE here to use it.',
    `[${PROFILE}]`,
    `aws_access_key_id = STOW${id}`,
    `aws_secret_access_key = ${randomBytes(30).toString('base64url')}`,
    '',
  ].join('\n');
}

function parseCredentials(text: string, file: string): RootKey {
  const values = readProfile(text, PROFILE);
  const accessKeyId = values.get('aws_access_key_id') ?? '';
  const secretAccessKey = values.get('aws_secret_access_key') ?? '';
  if (!/^[A-Za-z0-9_]{4,128}$/.test(accessKeyId)) {
    throw new Error(`${file} holds no usable aws_access_key_id in its profile [${PROFILE}]`);
  }
  if (secretAccessKey.length < 32) {
    throw new Error(
      `${file} holds no aws_secret_access_key of at least 32 characters in its profile [${PROFILE}]`,
    );
  }
  return new RootKey(accessKeyId, secretAccessKey);
}

function readProfile(text: string, profile: string): Map<string, string> {
  const values = new Map<string, string>();
  let section = '';
  for (const line of text.split(/\r?\n/).map((raw) => raw.trim())) {
    const header = /^\[(.*)\]$/.exec(line);
    const equals = line.indexOf('=');
    if (header) section = header[1]!.trim();
    else if (section === profile && equals > 0 && !/^[#;]/.test(line)) {
      values.set(line.slice(0, equals).trim().toLowerCase(), line.slice(equals + 1).trim());
    }
  }
  return values;
}

function isErrno(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code;
}
