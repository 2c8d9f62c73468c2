import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RegistryProcess } from '../support/registry-process.js';
import { killIfThere, postgresProcesses } from '../restart/crash.js';
import type { Kill } from './plan.js';

const PATIENCE_MS = 60_000;

/** The embedded PostgreSQL: its postmaster, one of its sessions, or all of it. Its other sessions end with the one. */
export async function killDatabase(
  registry: RegistryProcess,
  which: 'database' | 'postmaster' | 'backend',
): Promise<void> {
  const { dataDir } = registry.environment;
  const all = postgresProcesses(dataDir);
  const sessions = all.filter((pid) => commandOf(pid).startsWith('postgres: stowage'));
  const postmaster = Number.parseInt(readFileSync(`${dataDir}/postgres/data/postmaster.pid`, 'utf8'), 10);
  const victims = { database: all, postmaster: [postmaster], backend: sessions.slice(-1) }[which];
  for (const pid of victims) killIfThere(pid);
  const ending = [...victims, ...sessions];
  await until(() => !postgresProcesses(dataDir).some((pid) => ending.includes(pid)));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** Service and database at once, as a power failure. */
export async function killEverything(registry: RegistryProcess): Promise<void> {
  const database = postgresProcesses(registry.environment.dataDir);
  const service = registry.kill('SIGKILL');
  for (const pid of database) killIfThere(pid);
  await service;
}

export function isStopped(pid: number): boolean {
  try {
    return / [Tt] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, ''));
  } catch {
    return false;
  }
}

/** Database and store answer again, without anybody's help. */
export async function whenReady(registry: RegistryProcess): Promise<void> {
  await until(async () => {
    if (!registry.isRunning) throw new Error('The service ended by itself');
    return (await fetch(`${registry.environment.operatorUrl}/readyz`).catch(() => undefined))?.ok === true;
  });
}

/** @throws when it does not come about in time */
export async function until(
  condition: () => boolean | Promise<boolean>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  for (const deadline = Date.now() + patienceMs; !(await condition()); await sleep(10))
    if (Date.now() > deadline) throw new Error(`It did not come about within ${patienceMs} ms`);
}

/** Settings of a service that dies, or stops, at the point of a kill. */
export function pointOf(kill: Kill | undefined): Record<string, string> {
  if (kill?.kind !== 'at' && kill?.kind !== 'database at') return {};
  return {
    STOWAGE_TEST_FAULT_POINT: `${kill.point}:${kill.nth}`,
    STOWAGE_TEST_FAULT_SIGNAL: kill.kind === 'at' ? 'SIGKILL' : 'SIGSTOP',
  };
}

/** What the service complained of last, and with what it ended; greetings, which are indented, say nothing. */
export function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line !== '' && !line.startsWith('  '));
  return [...lines.slice(-8), output.slice(-1_500)].join('\n').slice(-8_000);
}
