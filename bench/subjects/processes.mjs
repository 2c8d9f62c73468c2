import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Linux counts processor time for programs in this unit, whatever its own ticks are. */
const TICKS_PER_SECOND = 100;

/** Processor seconds of a process, everything it started and what those started, living and reaped. */
export function cpuSeconds(pid) {
  const ticks = treeOf(pid).reduce((sum, { cpuTicks }) => sum + cpuTicks, 0);
  return ticks / TICKS_PER_SECOND;
}

/** Forgets the highest so far, where the kernel lets us. */
export function resetPeakMemory(pid) {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch (error) {
    if (!['EACCES', 'EPERM', 'ENOENT'].includes(error.code)) throw error;
  }
}

/** Resident memory of the process itself at its highest (VmHWM) or now (VmRSS). Bytes. */
export function memory(pid, what) {
  return statusBytes(pid, what);
}

/** What its children hold for themselves now; memory that PostgreSQL's processes share is counted once. Bytes. */
export function childrenMemory(pid) {
  const children = treeOf(pid).filter((process) => process.pid !== pid);
  const own = children.reduce((sum, child) => sum + statusBytes(child.pid, 'RssAnon'), 0);
  return own + Math.max(0, ...children.map((child) => statusBytes(child.pid, 'RssShmem')));
}

function statusBytes(pid, name) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has ended
  }
}

function treeOf(root) {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readStat(Number(name)) ?? []);
  const tree = processes.filter(({ pid }) => pid === root);
  for (const parent of tree) tree.push(...processes.filter(({ parentPid }) => parentPid === parent.pid));
  return tree;
}

function readStat(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may contain anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // utime, stime, and those of children that were waited for.
    const cpuTicks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0);
    return { pid, parentPid: Number(fields[1]), cpuTicks };
  } catch {
    return undefined; // it has ended
  }
}
