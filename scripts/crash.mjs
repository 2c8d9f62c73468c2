/**
 * `npm run crash -- --kills 200 --seed 1 [--store filesystem|s3]`: kills the service, its database and its clients at so many
 * points under load, and verifies after each that nothing acknowledged is lost. The same seed makes the same plan. Ends with one
 * line of figures, and with code 1 unless all of them are as they should be.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NODE, ROOT } from './setup.mjs';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    store: { type: 'string' },
  },
});
const isCount = (text) => /^[1-9][0-9]{0,8}$/.test(text);
if (!isCount(values.kills) || !isCount(values.seed)) {
  console.error('--kills and --seed are whole numbers from 1');
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'stowage-crash-'));
const results = join(folder, 'results.json');
const { status } = spawnSync(
  NODE,
  [join(ROOT, 'scripts/test.mjs'), '--testMatch', '**/test/crash/campaign.ts', '--reporters', 'default'],
  {
    cwd: ROOT,
    stdio: 'inherit',
    env: {
      ...process.env,
      STOWAGE_TEST_CRASH_KILLS: values.kills,
      STOWAGE_TEST_CRASH_SEED: values.seed,
      STOWAGE_TEST_CRASH_RESULTS: results,
      ...(values.store && { STOWAGE_TEST_CRASH_STORE: values.store }),
    },
  },
);
let outcome;
try {
  outcome = JSON.parse(readFileSync(results, 'utf8'));
} catch {
  outcome = { summary: `The run did not come to its end (exit ${status})`, ok: false };
}
rmSync(folder, { recursive: true, force: true });
console.log(outcome.summary);
process.exitCode = outcome.ok && status === 0 ? 0 : 1;
