import { execFile, execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, it } from '@jest/globals';

const execute = promisify(execFile);

/** On PATH. @returns absolute path, or undefined */
export function onPath(name: string): string | undefined {
  const places = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** One of scripts/tools.mjs, built there if need be. @returns absolute path, or undefined */
export function builtTool(name: string): string | undefined {
  try {
    return (
      execFileSync(process.execPath, [resolve('scripts/tools.mjs'), name], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
        // Flags meant for jest.
        env: { ...process.env, NODE_OPTIONS: '' },
      }).trim() || undefined
    );
  } catch {
    return undefined;
  }
}

/** Whether the command ends with code 0. */
export function succeeds(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
}

/**
 * Tests that need something this machine may not have. Without it they are skipped aloud and counted, or, where the environment
 * variable `required` is 1, failed.
 */
export function describeWhere(
  available: boolean,
  name: string,
  want: string,
  promises: () => void,
  required = '',
): void {
  if (available) describe(name, promises);
  else if (required && process.env[required] === '1') {
    it(name, () => {
      throw new Error(`${required}=1, but there is no ${want}`);
    });
  } else {
    process.stderr.write(`SKIPPED: ${name}, for want of ${want}\n`);
    describe.skip(`${name}: no ${want}`, promises);
  }
}

export interface RunOptions {
  cwd?: string;
  /** Beside PATH and HOME, all the program gets to see. */
  env?: Record<string, string>;
  input?: string;
}

/** @returns what it wrote to stdout @throws with everything it wrote, unless it ends with code 0 */
export async function runProgram(
  command: string,
  args: string[],
  { cwd, env, input }: RunOptions = {},
): Promise<string> {
  const running = execute(command, args, {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
  running.child.stdin?.end(input ?? '');
  try {
    return (await running).stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')} failed:\n${stderr}${stdout}`, { cause: error });
  }
}
