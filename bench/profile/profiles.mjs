import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { number } from '../report/report.mjs';
import { summarise } from './summary.mjs';

/** Node's own profiler, from start to end of the process; one file per thread. */
export function profileOptions(folder) {
  return ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${folder}`];
}

/**
 * One text per scenario; the service has ended.
 * @param {string} folder of the recordings
 * @param {string} target file to write
 */
export function writeSummary(folder, target, { title, series }) {
  const ofService = series.filter(({ service }) => service?.pid);
  const windows = ofService.flatMap((one) => one.windows);
  const recordings = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  const text = [
    `${title}\n`,
    // The profiler sees JavaScript threads only; the rest is libuv's pool and PostgreSQL.
    ...ofService.map(
      ({ name, median, unit, cpu, seconds }) =>
        `${name}: ${number(median)} ${unit} under the profiler; ${number(cpu)} s of processor, database included, in ${number(seconds)} s`,
    ),
    '',
    // The main thread's is the largest.
    ...recordings
      .map((name) => summarise(join(folder, name), windows))
      .toSorted((a, b) => b.length - a.length),
  ].join('\n');
  mkdirSync(join(target, '..'), { recursive: true });
  writeFileSync(target, text);
}
