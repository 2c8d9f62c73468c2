/**
 * What node --cpu-prof recorded, as text: where the time of the measured rounds went, by function, by module, and below which of
 * the project's functions. `node bench/profile/summary.mjs <file.cpuprofile>…` summarises whole recordings.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const MOST_FUNCTIONS = 45;
const MOST_BELOW = 40;
/** Not work: waiting. */
const IDLE = '(idle)';

/**
 * @param {string} file a .cpuprofile
 * @param {[from: bigint, to: bigint][]} [windows] of process.hrtime, in nanoseconds; absent: everything recorded
 */
export function summarise(file, windows) {
  const { nodes, samples, timeDeltas, startTime } = JSON.parse(readFileSync(file, 'utf8'));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const node of nodes) for (const child of node.children ?? []) byId.get(child).parent = node;
  const bounds = windows?.map((window) => window.map((nanoseconds) => Number(nanoseconds / 1000n)));
  const inside = (at) => !bounds || bounds.some(([from, to]) => at >= from && at < to);

  const functions = new Tally();
  const modules = new Tally();
  const withBelow = new Tally();
  const below = new Tally();
  let idle = 0;
  let at = startTime;
  for (const [index, id] of samples.entries()) {
    // A sample stands for the time until the next one.
    at += timeDeltas[index];
    const microseconds = timeDeltas[index + 1] ?? 0;
    if (microseconds <= 0 || !inside(at)) continue;
    const node = byId.get(id);
    if (node.callFrame.functionName === IDLE) {
      idle += microseconds;
      continue;
    }
    const name = describe(node.callFrame);
    functions.add(`${name.what}  ${name.where}`, microseconds);
    modules.add(name.module, microseconds);
    for (const ancestor of projectFunctionsOver(node)) below.add(ancestor, microseconds);
    for (const module of modulesOver(node)) withBelow.add(module, microseconds);
  }
  const busy = functions.total;
  return [
    `${basename(file)}: ${seconds(busy)} busy, ${seconds(idle)} idle`,
    '',
    'By module, self time:',
    ...modules.lines(busy, Infinity, 0.002),
    '',
    'By module, with everything it called:',
    ...withBelow.lines(busy, Infinity, 0.01),
    '',
    'By function, self time:',
    ...functions.lines(busy, MOST_FUNCTIONS, 0.003),
    '',
    "In and below the project's functions (what runs after an await counts where it goes on):",
    ...below.lines(busy, MOST_BELOW, 0.01),
    '',
  ].join('\n');
}

class Tally {
  #times = new Map();
  total = 0;

  add(name, microseconds) {
    this.#times.set(name, (this.#times.get(name) ?? 0) + microseconds);
    this.total += microseconds;
  }

  lines(whole, most, leastShare) {
    return [...this.#times]
      .toSorted(([, a], [, b]) => b - a)
      .filter(([, time]) => time / whole >= leastShare)
      .slice(0, most)
      .map(([name, time]) => `${((time / whole) * 100).toFixed(1).padStart(6)} %  ${name}`);
  }
}

function* projectFunctionsOver(node) {
  const seen = new Set();
  for (let one = node; one; one = one.parent) {
    const { what, where, module } = describe(one.callFrame);
    if (!module.startsWith('stowage')) continue;
    const name = `${what}  ${where}`;
    // A function that calls itself counts once.
    if (!seen.has(name)) yield name;
    seen.add(name);
  }
}

function modulesOver(node) {
  const modules = new Set();
  for (let one = node; one; one = one.parent) {
    const { module } = describe(one.callFrame);
    if (!module.startsWith('(') && module !== 'V8 and C++') modules.add(module);
  }
  return modules;
}

/** @returns {{ what: string, where: string, module: string }} */
function describe({ functionName, url, lineNumber }) {
  const what = functionName || '(anonymous)';
  if (url === '') return { what, where: '', module: what.startsWith('(') ? what : 'V8 and C++' };
  if (url.startsWith('node:')) return { what, where: `${url}:${lineNumber + 1}`, module: 'node' };
  const path = url.replace(/^file:\/\//, '');
  const dependency = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(.*)$/.exec(path);
  if (dependency) {
    const [, name, rest] = dependency;
    return { what, where: `${name}/${rest}:${lineNumber + 1}`, module: name };
  }
  const own = path.replace(/^.*\/dist\//, '');
  return {
    what,
    where: `${own}:${lineNumber + 1}`,
    module: `stowage ${own.split('/').slice(0, -1).join('/')}`,
  };
}

function seconds(microseconds) {
  return `${(microseconds / 1e6).toFixed(2)} s`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of process.argv.slice(2)) console.log(summarise(file));
}
