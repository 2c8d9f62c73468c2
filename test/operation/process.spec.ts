import { afterEach, describe, expect, it } from '@jest/globals';
import { CreateRepositoryCommand, DescribeRepositoriesCommand } from '@aws-sdk/client-ecr';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startRegistryProcess, type RegistryProcess } from '../support/registry-process.js';

let registry: RegistryProcess | undefined;

afterEach(async () => {
  await registry?.close();
  registry = undefined;
});

describe('the service as a process, with the embedded database', () => {
  it('ends in order on SIGTERM and takes its database along', async () => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    expect(await registry.kill('SIGTERM')).toBe(0);
    expect(existsSync(join(registry.environment.dataDir, 'postgres/data/postmaster.pid'))).toBe(false);
  });

  it('ends in order although everybody on the way hands the signal down once more', async () => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    const ended = registry.kill('SIGTERM');
    for (let times = 0; times < 3; times += 1) process.kill(registry.pid, 'SIGTERM');
    expect(await ended).toBe(0);
  });

  it('knows everything it acknowledged after kill -9', async () => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    for (const round of [1, 2, 3]) {
      await registry.ecr.send(new CreateRepositoryCommand({ repositoryName: `round-${round}` }));
      await registry.kill('SIGKILL');
      await registry.restart();
      const { repositories } = await registry.ecr.send(new DescribeRepositoriesCommand({}));
      expect(repositories).toHaveLength(round);
    }
  });

  it('refuses to be started twice on one data folder', async () => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    const second = spawn(resolve('node_modules/.bin/node'), [resolve('dist/main.js')], {
      env: { ...registry.environment.settings, STOWAGE_PORT: '0', STOWAGE_OPERATOR_PORT: '0' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let complaint = '';
    second.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    const [code] = (await once(second, 'close')) as [number];
    expect(code).toBe(1);
    expect(complaint).toContain('Another process is already serving the data folder');
    await registry.ecr.send(new DescribeRepositoriesCommand({}));
  });
});

describe('npm start', () => {
  it.each([
    ['npm', 'SIGTERM'],
    ['npm', 'SIGINT'],
    ['npm', 'SIGKILL'],
    ['the script below npm', 'SIGKILL'],
  ] as const)('leaves nothing running when %s gets %s', async (whom, signal) => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    await registry.kill('SIGTERM');
    const npm = spawn('npm', ['start'], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...registry.environment.settings },
      stdio: 'ignore',
    });
    const ended = once(npm, 'exit');
    const { operatorUrl, dataDir } = registry.environment;
    await eventually(() => isServing(operatorUrl));
    const script = childrenOf(npm.pid!)[0]!;
    process.kill(whom === 'npm' ? npm.pid! : script, signal);
    await ended;
    const pidFile = join(dataDir, 'postgres/data/postmaster.pid');
    await eventually(async () => !(await isServing(operatorUrl)) && !existsSync(pidFile));
  });
});

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await condition()); await sleep(100)) {
    if (Date.now() > deadline) throw new Error('It did not come about within 20 s');
  }
}

async function isServing(operatorUrl: string): Promise<boolean> {
  return fetch(`${operatorUrl}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  );
}

/** Read from /proc, which these tests are for. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] === String(parent);
      } catch {
        return false;
      }
    })
    .map(Number);
}
