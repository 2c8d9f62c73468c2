import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { RootKey } from './root-key.js';

let dataDir: string;
let file: string;
let written: string;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-root-key-'));
  dataDir = join(folder, 'not', 'there', 'yet');
  file = join(dataDir, 'credentials');
  written = '';
  const record = (message: unknown): void => void (written += `${String(message)}\n`);
  for (const level of ['log', 'warn', 'error', 'debug'] as const) {
    jest.spyOn(Logger.prototype, level).mockImplementation(record);
  }
});

afterEach(async () => {
  jest.restoreAllMocks();
  await rm(join(dataDir, '..', '..', '..'), { recursive: true, force: true });
});

const load = (): Promise<RootKey> => RootKey.load({ rootKey: null, dataDir });

describe('root key', () => {
  it('is the configured one, and then no file is written', async () => {
    const rootKey = { accessKeyId: 'configured', secretAccessKey: 'a secret of thirty-two characters' };
    expect(await RootKey.load({ rootKey, dataDir })).toMatchObject(rootKey);
    await expect(stat(dataDir)).rejects.toThrow('ENOENT');
  });

  it('is created at first start, in a file for the owner alone', async () => {
    const key = await load();
    expect(key.accessKeyId).toMatch(/^STOW[A-Z2-7]{16}$/);
    expect(key.secretAccessKey).toMatch(/^[A-Za-z0-9_-]{40}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(dataDir)).toEqual(['credentials']);
  });

  it('is written as an AWS shared-credentials file', async () => {
    const key = await load();
    const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => !line.startsWith('#'));
    expect(lines).toEqual([
      '[default]',
      `aws_access_key_id = ${key.accessKeyId}`,
      `aws_secret_access_key = ${key.secretAccessKey}`,
      '',
    ]);
  });

  it('is read back at every later start', async () => {
    const first = await load();
    const text = await readFile(file, 'utf8');
    expect((await load()).secretAccessKey).toBe(first.secretAccessKey);
    expect(await readFile(file, 'utf8')).toBe(text);
  });

  it('is the same for processes that start at once', async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, load));
    expect(new Set(keys.map((key) => key.secretAccessKey)).size).toBe(1);
    expect(await readdir(dataDir)).toEqual(['credentials']);
  });

  it('never shows its secret in logs, dumps or JSON', async () => {
    const key = await load();
    const shown = [written, inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key)].join();
    expect(shown).toContain(key.accessKeyId);
    expect(shown).not.toContain(key.secretAccessKey);
    expect(written).toContain(file);
  });

  it('reads a file that people have edited', async () => {
    await load();
    await writeFile(
      file,
      '; mine\r\n[other]\r\naws_secret_access_key = no\r\n\r\n[ default ]\r\nAWS_ACCESS_KEY_ID=mine\r\n# x = y\r\naws_secret_access_key=with=equals/and+thirty-two-characters\r\n',
    );
    expect(await load()).toMatchObject({
      accessKeyId: 'mine',
      secretAccessKey: 'with=equals/and+thirty-two-characters',
    });
  });

  it('closes a file that others may read, and says so', async () => {
    await load();
    await chmod(file, 0o644);
    await load();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(written).toContain('was readable by others');
  });

  it.each([
    ['', 'aws_access_key_id'],
    ['[default]\naws_access_key_id = a b\n', 'aws_access_key_id'],
    ['[default]\naws_access_key_id = mine\naws_secret_access_key = hunter2\n', 'aws_secret_access_key'],
  ])('refuses the unusable file %j without quoting it', async (text, named) => {
    await load();
    await writeFile(file, text);
    const error = await load().catch((reason: unknown) => reason as Error);
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).message).toContain(named);
    expect((error as Error).message).toContain(file);
    expect((error as Error).message).not.toContain('hunter2');
  });
});
