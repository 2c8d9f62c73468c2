import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Decision } from '../../src/identity/policies/evaluate.js';
import { policyCase, type PolicyCase } from './policy-cases.js';
import { KNOWN_DIFFERENCES } from './policy-differences.js';
import { askOracle, decide, type Outcome, without } from './policy-oracle.js';
import { shrink } from './policy-shrink.js';

/** More, or others, by `POLICY_PAIRS=100000 POLICY_SEED=20000 npm test -- test/identity/policy-differential`. */
const PAIRS = Number(process.env['POLICY_PAIRS'] ?? 20_000);
const FIRST_SEED = Number(process.env['POLICY_SEED'] ?? 0);
const TIMEOUT = Math.max(300_000, PAIRS * 20);

interface Verdict {
  ours: Decision;
  theirs: Outcome;
}

async function ask(drawn: PolicyCase): Promise<Verdict> {
  const { outcome, ignored } = await askOracle(drawn);
  return { ours: decide(drawn, ignored), theirs: outcome };
}

/**
 * Which known differences stand behind a disagreement: none unless it is gone once the statements they speak of are. One of
 * them being present somewhere explains nothing by itself.
 */
async function explain(drawn: PolicyCase, { ours }: Verdict): Promise<string[]> {
  const decided = (decision: Decision, other: PolicyCase): string[] =>
    KNOWN_DIFFERENCES.filter((known) => known.decision?.(decision, other)).map(({ name }) => name);
  const whole = decided(ours, drawn);
  if (whole.length > 0) return whole;
  const found = new Set<string>();
  const rest = without(drawn, (statement, policy) => {
    const known = KNOWN_DIFFERENCES.filter((one) => one.statement?.(statement, drawn, policy));
    for (const { name } of known) found.add(name);
    return known.length > 0;
  });
  if (found.size === 0) return [];
  const again = await ask(rest);
  if (again.ours.outcome === again.theirs) return [...found];
  const left = decided(again.ours, rest);
  return left.length > 0 ? [...found, ...left] : [];
}

async function isUnexplained(drawn: PolicyCase): Promise<boolean> {
  const verdict = await ask(drawn);
  return verdict.ours.outcome !== verdict.theirs && (await explain(drawn, verdict)).length === 0;
}

const outcomes: Record<Outcome, number> = { allowed: 0, 'explicit-deny': 0, 'implicit-deny': 0 };
const ways = new Map<string, number>();
const explained = new Map<string, number>(KNOWN_DIFFERENCES.map(({ name }) => [name, 0]));
const unexplained: { seed: number; drawn: PolicyCase }[] = [];
let agreed = 0;

function wayOf(ours: Decision): string {
  const where = ours.crossAccount ? 'across accounts' : 'within an account';
  if (ours.outcome === 'allowed') return `allowed by ${ours.by} ${where}`;
  if (ours.outcome === 'explicit-deny') return `denied by ${ours.deniedBy} ${where}`;
  return `nothing in ${ours.lacking[0]} ${where}`;
}

describe('decisions on random policies and requests', () => {
  beforeAll(async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + PAIRS; seed++) {
      const drawn = policyCase(seed);
      const verdict = await ask(drawn);
      outcomes[verdict.ours.outcome]++;
      const way = wayOf(verdict.ours);
      ways.set(way, (ways.get(way) ?? 0) + 1);
      if (verdict.ours.outcome === verdict.theirs) {
        agreed++;
        continue;
      }
      const reasons = await explain(drawn, verdict);
      for (const reason of reasons) explained.set(reason, explained.get(reason)! + 1);
      if (reasons.length === 0) unexplained.push({ seed, drawn });
    }
    const lines = [
      `${PAIRS} pairs from seed ${FIRST_SEED}: ${agreed} agreed, ${PAIRS - agreed - unexplained.length} explained, ${unexplained.length} unexplained`,
      JSON.stringify(outcomes),
      ...[...ways]
        .sort(([one], [other]) => one.localeCompare(other))
        .map(([way, count]) => `  ${count} ${way}`),
      ...[...explained].map(([name, count]) => `  ${count} explained: ${name}`),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  }, TIMEOUT);

  it('are those of an independent simulator, but for differences that are named', async () => {
    const shown: string[] = [];
    for (const { seed, drawn } of unexplained.slice(0, 5)) {
      const small = await shrink(drawn, isUnexplained);
      const { ours, theirs } = await ask(small);
      shown.push(`seed ${seed}: ours ${ours.outcome}, theirs ${theirs}: ${JSON.stringify(small)}`);
    }
    expect(shown).toEqual([]);
    expect(PAIRS).toBeGreaterThanOrEqual(20_000);
    expect(agreed / PAIRS).toBeGreaterThan(0.97);
  });

  it('allow and deny often enough to tell something', () => {
    expect(outcomes.allowed / PAIRS).toBeGreaterThan(0.2);
    expect(outcomes['explicit-deny'] / PAIRS).toBeGreaterThan(0.1);
    expect(outcomes['implicit-deny'] / PAIRS).toBeGreaterThan(0.2);
  });

  it('go every way there is, within an account and across', () => {
    const often = [...ways].filter(([, count]) => count >= PAIRS / 2_000).map(([way]) => way);
    const expected = ['within an account', 'across accounts'].flatMap((where) => [
      `allowed by identity-and-resource ${where}`,
      ...['identity', 'boundary', 'session', 'resource'].map((type) => `denied by ${type} ${where}`),
      ...['identity', 'boundary', 'session'].map((type) => `nothing in ${type} ${where}`),
    ]);
    expected.push(
      'allowed by root within an account',
      'allowed by identity within an account',
      'allowed by resource within an account',
      'nothing in resource across accounts',
    );
    expect(often).toEqual(expect.arrayContaining(expected));
  });

  it('differ in every way that is named, or the name is out of date', () => {
    expect([...explained].filter(([, count]) => count === 0)).toEqual([]);
  });
});
