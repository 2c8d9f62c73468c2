import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { TestEnvironment } from './test-environment.js';

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

const NODE = resolve('node_modules/.bin/node');

/** An operator's command of the built service, as a process of its own with the settings of a registry. */
export async function run(environment: TestEnvironment, name: string, ...args: string[]): Promise<Ran> {
  const child = spawn(NODE, ['--enable-source-maps', resolve('dist/commands', `${name}.js`), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment.settings },
  });
  const ran: Ran = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (ran.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (ran.stderr += chunk.toString()));
  [ran.code] = (await once(child, 'close')) as [number | null];
  return ran;
}

/** Every line a JSON document. */
export function documents(ran: Ran): Record<string, unknown>[] {
  return ran.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
