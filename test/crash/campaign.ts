/** Run by scripts/crash.mjs, which sets these; a run of its own, since it may take hours. */
import { it } from '@jest/globals';
import { writeFileSync, writeSync } from 'node:fs';
import { STORES, type StoreName, stores } from '../support/stores.js';
import { live } from './harness.js';
import type { Finding } from './ledger.js';
import { countKills, plan } from './plan.js';

const seed = Number(process.env['STOWAGE_TEST_CRASH_SEED']);
const wanted = Number(process.env['STOWAGE_TEST_CRASH_KILLS']);
const store = process.env['STOWAGE_TEST_CRASH_STORE'] as StoreName | undefined;
const results = process.env['STOWAGE_TEST_CRASH_RESULTS']!;

it(
  'survives every kill',
  async () => {
    const chosen = stores().filter((name) => !store || name === store);
    if (chosen.length === 0)
      throw new Error(`None of the stores can be used here: ${store ?? STORES.join()}`);
    const lives = plan(chosen, seed, wanted);
    const findings: Finding[] = [];
    let kills = 0;
    let unreached = 0;
    let acknowledged = 0;
    let told = 0;
    const began = Date.now();
    for (const [index, life] of lives.entries()) {
      const report = await live(life, (line) => {
        const isFinding = line.startsWith(' ');
        if (!isFinding) told += 1;
        const place = isFinding ? '' : `[${told}/${countKills(lives)}] life ${index + 1}, `;
        writeSync(1, `${place}${line}\n`);
      });
      kills += report.kills;
      unreached += report.unreached.length;
      acknowledged += report.acknowledged;
      findings.push(...report.findings);
    }
    const count = (kind: Finding['kind']): number =>
      findings.filter((finding) => finding.kind === kind).length;
    const summary =
      `kill points ${kills}, lost ${count('lost')}, half-visible ${count('half-visible')}, leaked ${count('leaked')}, ` +
      `unexpected ${count('unexpected')} (${unreached} killed elsewhere than at their point of the collector, ${acknowledged} requests acknowledged, ${Math.round((Date.now() - began) / 1000)} s, ` +
      `seed ${seed}, stores ${chosen.join(' and ')})`;
    writeFileSync(results, JSON.stringify({ summary, ok: findings.length === 0 && kills === wanted }));
  },
  2 ** 31 - 1,
);
