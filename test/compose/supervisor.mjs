/**
 * A Docker engine of the tests' own, which lives as long as this process's stdin stays open, however its reader ends. Writes one line
 * to stdout once it knows: `{"folder","path","socket","base","network"}`, or `{"missing": <reason>}` where there can be none.
 * Then, at the end, it undoes everything and says on stderr what it could not; its code is 0 only if that was nothing.
 *
 * `network` is "bridge" where builds reach other machines by the engine's own network, or "host" where they need the machine's.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as machine from './machine.mjs';
import { baseSystem, cacheFolder, enginePrograms, lastLine, run } from './packages.mjs';

/** Of the machine, like what an engine changes: one at a time. Holds whose it is and where. */
const LOCK = '/run/stowage-test-engine.json';
const FALLBACKS = [
  [],
  ['--iptables=false', '--ip6tables=false'],
  ['--iptables=false', '--ip6tables=false', '--bridge=none'],
];
const START_MS = 20_000;
const STOP_MS = 40_000;

const closing = new AbortController();
const { signal } = closing;
const close = () => closing.abort(new Error('The tests ended'));
process.stdin.on('end', close).on('close', close).on('error', close).resume();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, close);
// Whoever read it may be gone.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const tell = (text) => process.stderr.write(`compose: ${text}\n`);
const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function main() {
  const owner = await takeLock();
  if (owner) return report({ missing: owner });
  const folder = mkdtempSync(join(tmpdir(), 'stowage-engine-'));
  const before = machine.snapshot();
  writeFileSync(LOCK, JSON.stringify({ pid: process.pid, folder, before }));
  try {
    const trace = machine.traceOfEngine(before);
    if (trace) throw new Error(trace);
    report(await startEngine(folder));
    if (!signal.aborted) await new Promise((ended) => signal.addEventListener('abort', ended));
  } catch (error) {
    if (!signal.aborted) report({ missing: error.message });
  } finally {
    const left = await cleanUp(folder, before);
    for (const thing of left) tell(`left behind: ${thing}`);
    if (left.length > 0) process.exitCode = 1;
    else rmSync(LOCK, { force: true });
  }
}

/** Also cleans up after an engine whose process was killed. @returns why not, if another one is at work */
async function takeLock() {
  if (existsSync(LOCK)) {
    const { pid, folder, before } = JSON.parse(readFileSync(LOCK, 'utf8'));
    const command = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
    if (command.includes('supervisor.mjs')) return `process ${pid} runs one already`;
    tell(`cleaning up in ${folder} after a run that was killed`);
    await cleanUp(folder, before);
    rmSync(LOCK, { force: true });
  }
  writeFileSync(LOCK, JSON.stringify({ pid: process.pid }), { flag: 'wx' });
  return undefined;
}

async function startEngine(folder) {
  const cache = await cacheFolder();
  const programs = await enginePrograms(cache, folder, tell, signal);
  const base = await baseSystem(cache, folder, tell, signal);
  const path = [...programs, process.env.PATH].join(':');
  const socket = join(folder, 'engine.sock');
  let reason = '';
  for (const [turn, flags] of FALLBACKS.entries()) {
    const log = join(folder, `engine-${turn}.log`);
    if (await isUp(folder, path, socket, flags, log))
      return { folder, path, socket, base, network: turn === 0 ? 'bridge' : 'host' };
    reason = lastLine(readFileSync(log, 'utf8'));
    await endEngine(folder);
  }
  throw new Error(reason);
}

async function isUp(folder, path, socket, flags, log) {
  const places = [
    `--data-root=${folder}/root`,
    `--exec-root=${folder}/exec`,
    `--pidfile=${folder}/engine.pid`,
  ];
  const output = openSync(log, 'w');
  const engine = spawn('dockerd', [...places, `--host=unix://${socket}`, ...flags], {
    env: { ...process.env, PATH: path, NODE_OPTIONS: '' },
    // A signal meant for the tests is none for the engine.
    detached: true,
    stdio: ['ignore', output, output],
  });
  const ended = new AbortController();
  for (const event of ['error', 'exit']) engine.on(event, () => ended.abort());
  for (
    const deadline = Date.now() + START_MS;
    !ended.signal.aborted && Date.now() < deadline;
    await sleep(100)
  ) {
    signal.throwIfAborted();
    if (await answers(socket)) return true;
  }
  return false;
}

function answers(socketPath) {
  return new Promise((resolve) => {
    get({ socketPath, path: '/_ping' }, (response) => resolve(response.resume().statusCode === 200))
      .on('error', () => resolve(false))
      .setTimeout(2_000, () => resolve(false));
  });
}

async function cleanUp(folder, before) {
  // All but the pid was written only after nothing had been done yet.
  if (!folder) return [];
  const socket = join(folder, 'engine.sock');
  if (existsSync(socket)) await endProject(folder, socket);
  await endEngine(folder);
  const mounts = machine.unmountBelow(folder).map((mount) => `mount ${mount}`);
  const changes = machine.restore(before);
  machine.removeControlGroups(folder);
  if (mounts.length === 0) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  return [...mounts, ...changes, ...machine.processesOf(folder).map((pid) => `process ${pid}`)];
}

/** In order, so that the engine itself takes back what it made for the containers. */
async function endProject(folder, socket) {
  const path = [...(await enginePrograms(await cacheFolder(), folder, tell)), process.env.PATH].join(':');
  const env = { PATH: path, DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: join(folder, 'config') };
  const quiet = { env, signal: AbortSignal.timeout(STOP_MS) };
  await run('docker', ['compose', '-p', 'stowage', 'down', '-v', '--timeout', '5'], quiet).catch(() => {});
  const containers = await run('docker', ['ps', '-aq'], quiet).catch(() => '');
  if (containers) await run('docker', ['rm', '-fv', ...containers.trim().split('\n')], quiet).catch(() => {});
}

async function endEngine(folder) {
  const pidFile = join(folder, 'engine.pid');
  const pid = existsSync(pidFile) ? readFileSync(pidFile, 'utf8') : '';
  const stops = () => machine.processesOf(folder).includes(pid);
  if (stops()) signalProcess(pid, 'SIGTERM');
  for (const deadline = Date.now() + STOP_MS; stops() && Date.now() < deadline; await sleep(100));
  for (let turn = 0; turn < 50 && machine.processesOf(folder).length > 0; turn += 1, await sleep(100))
    // Long enough for what ends by itself.
    if (turn >= 20) for (const pid of machine.processesOf(folder)) signalProcess(pid, 'SIGKILL');
  for (const file of ['engine.pid', 'engine.sock']) rmSync(join(folder, file), { force: true });
}

function signalProcess(pid, name) {
  try {
    process.kill(Number(pid), name);
  } catch {
    // It ended by itself.
  }
}

await main();
process.exit();
