/** `npm run bench`: see docs/operations/benchmarks.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { Bench } from './bench.mjs';
import { parseOptions } from './options.mjs';
import { writeSummary } from './profile/profiles.mjs';
import { machine } from './report/machine.mjs';
import { claimsTable, seriesTables } from './report/report.mjs';
import { table } from './report/table.mjs';
import { scenarios } from './rows/index.mjs';

const RESULTS = join(import.meta.dirname, 'results');

const options = parseOptions(process.argv.slice(2));
const log = (text) => console.error(text);
const bench = new Bench(options, log);
const stop = () => void bench.close().finally(() => process.exit(130));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, stop);

const began = new Date();
const load = loadavg();
const outcomes = [];
try {
  for (const [name, scenario] of chosen()) {
    const { title, rows } = scenario;
    log(`Row ${rows.join(', ')}: ${title}`);
    try {
      const outcome = { title, ...(await scenario.run(bench)) };
      outcomes.push(outcome);
      if (options.profile) await writeProfile(name, rows, outcome);
    } catch (error) {
      log(`  FAILED: ${error.stack}`);
      process.exitCode = 1;
    } finally {
      await bench.clear();
    }
  }
} finally {
  await bench.close();
}
console.log(`\n${claimsTable(outcomes)}\n\n${seriesTables(outcomes)}\n`);
if (options.write) write();

function chosen() {
  return Object.entries(scenarios).filter(
    ([, { rows, tags }]) =>
      (!options.rows || rows.some((row) => options.rows.includes(row))) &&
      options.tags.every((tag) => tags.includes(tag)),
  );
}

async function writeProfile(name, rows, outcome) {
  // The recording is written when the service ends.
  await bench.stopServices();
  if (!bench.profiles) return;
  const file = join(RESULTS, 'profiles', `${rows.join('-')}-${kebab(name)}.txt`);
  writeSummary(bench.profiles, file, outcome);
  log(`  Written to ${file}`);
}

function kebab(name) {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function write() {
  const date = began.toISOString().slice(0, 10);
  const file = join(RESULTS, `${date}.md`);
  mkdirSync(RESULTS, { recursive: true });
  const facts = [
    ...machine(),
    ['Command', `npm run bench -- ${process.argv.slice(2).join(' ')}`.replace(/ -- $/, '')],
    ['Rounds', `${options.rounds}, after one warm-up${options.quick ? '; sizes of a quick run' : ''}`],
    ['Begun', `${began.toISOString()}, load average then ${load.map((one) => one.toFixed(1)).join(' ')}`],
  ];
  const text = [
    `# Benchmark of ${date}`,
    'Method and fairness rules: docs/operations/benchmarks.md. Ratios matter; the figures are those of this machine.',
    table(['on', 'what'], facts),
    '## Checked',
    claimsTable(outcomes),
    '## Measured',
    seriesTables(outcomes),
  ];
  writeFileSync(file, `${text.join('\n\n')}\n`);
  log(`Written to ${file}`);
}
