import type { Hashing } from '../registry/integrity/byte-check.js';
import type { Finding } from '../registry/integrity/finding.js';
import { FsckService, type FsckSummary } from '../registry/integrity/fsck.service.js';
import { StoreUnavailable } from '../registry/integrity/object-verifier.js';
import { CommandError, runCommand } from './command.js';

const MEBIBYTE = 1024 * 1024;
const COULD_NOT_FINISH = 2;
const MOST_NAMED = 5;

const USAGE = `Compares the records with the stored bytes, in both directions, and reports what does not agree.
It may run beside the service or without it.

  npm run fsck -- [options]

  --hash none|sample|all  whether the bytes of layers are read and hashed (default: none)
  --sample <n>%|<n>       hash such a part of the layers, or so many; the same as --hash sample (default: 5%)
  --seed <n>              chooses the same sample again (default: another one every time)
  --all                   hash all layers; the same as --hash all
  --rate <MiB/s>          how fast they are read; 0: as fast as it goes (default: STOWAGE_SCRUB_MIB_PER_SECOND)
  --repair                repair what can be repaired safely; without it nothing is changed but when a layer was hashed last
  --json                  one JSON object per line: each {"finding": …}, and {"summary": …} at the end

Exit codes: 0 nothing was found, 1 something was found, repaired or not, 2 the check could not be finished.`;

await runCommand(
  'fsck',
  async (command) => {
    const { config, values, signal } = command;
    const print = (line: string): void => command.print(line);
    const hashing = hashingOf(values);
    const rate = number('--rate', values.rate) ?? config.STOWAGE_SCRUB_MIB_PER_SECOND;
    const options = {
      hashing,
      bytesPerSecond: rate === 0 ? null : rate * MEBIBYTE,
      repair: values.repair,
    };
    const report = (finding: Finding): void =>
      print(values.json ? JSON.stringify({ finding }) : inWords(finding));
    const summary = await command
      .get(FsckService)
      .run(options, report, signal)
      .catch((error: unknown) => {
        if (signal.aborted) throw new CommandError('Stopped before the end', COULD_NOT_FINISH);
        throw error instanceof StoreUnavailable
          ? new CommandError(unavailable(error), COULD_NOT_FINISH)
          : error;
      });
    print(values.json ? JSON.stringify({ summary: { ...summary, hashing } }) : summed(summary, hashing));
    return Object.keys(summary.findings).length > 0 ? 1 : 0;
  },
  {
    usage: USAGE,
    failureCode: COULD_NOT_FINISH,
    options: {
      hash: { type: 'string' },
      sample: { type: 'string' },
      seed: { type: 'string' },
      all: { type: 'boolean', default: false },
      rate: { type: 'string' },
      repair: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  },
);

function hashingOf(values: { hash?: string; sample?: string; seed?: string; all: boolean }): Hashing {
  const chosen = [
    ...new Set([values.hash, values.all && 'all', values.sample !== undefined && 'sample'].filter(Boolean)),
  ];
  if (chosen.length > 1) throw fault(`${chosen.join(' and ')} exclude each other`);
  const seed = number('--seed', values.seed) ?? Math.floor(Math.random() * 1_000_000);
  if (!Number.isSafeInteger(seed)) throw fault(`--seed is not a whole number: ${values.seed}`);
  switch (chosen[0] ?? 'none') {
    case 'none':
      return 'none';
    case 'all':
      return 'all';
    case 'sample':
      return sampleOf(values.sample ?? '5%', seed);
    default:
      throw fault(`--hash is none, sample or all, not ${values.hash}`);
  }
}

function sampleOf(text: string, seed: number): Hashing {
  const amount = number('--sample', text.replace(/%$/, ''))!;
  if (text.endsWith('%')) {
    if (amount > 100) throw fault('--sample is more than 100%');
    return { percent: amount, seed };
  }
  if (!Number.isSafeInteger(amount)) throw fault(`--sample is not a number of layers: ${text}`);
  return { layers: amount, seed };
}

function number(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+(\.\d+)?$/.test(text)) throw fault(`${option} is not a number: ${text}`);
  return Number(text);
}

function fault(message: string): CommandError {
  return new CommandError(`${message}\n\n${USAGE}`, COULD_NOT_FINISH);
}

function unavailable({ message, cause }: StoreUnavailable): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}

function inWords(finding: Finding): string {
  const { kind, what, repositories = [], repair, repaired, known } = finding;
  const lines = [`${kind}: ${what}`];
  const subject = [
    finding.digest,
    finding.upload && `upload ${finding.upload}`,
    finding.key && `object ${finding.key}`,
    finding.recordedBytes !== undefined && `${finding.recordedBytes} bytes recorded`,
    finding.foundBytes !== undefined && `${finding.foundBytes} bytes found`,
  ].filter(Boolean);
  if (subject.length > 0) lines.push(subject.join(', '));
  if (repositories.length > 0) {
    const more = repositories.length > MOST_NAMED ? ` and ${repositories.length - MOST_NAMED} more` : '';
    lines.push(`in ${repositories.slice(0, MOST_NAMED).join(', ')}${more}`);
  }
  if (repaired) lines.push(`repaired: ${repair}`);
  else if (repaired === false) lines.push('not repaired');
  else if (!known) lines.push(repair === null ? '--repair cannot help' : `--repair ${repair}`);
  return lines.join('\n    ');
}

function summed(summary: FsckSummary, hashing: Hashing): string {
  const found = Object.entries(summary.findings);
  const lines = [
    `Looked at ${summary.layers} layers, ${summary.objects} objects (${summary.inFlight} without a record and too young to judge), ` +
      `${summary.openUploads} open uploads, ${summary.images} images, ${summary.deletedImages} deleted images, ${summary.repositories} repositories.`,
    `Hashed ${summary.hashedLayers} layers, ${summary.hashedBytes} bytes${sampling(hashing)}.`,
    found.length === 0
      ? 'Nothing was found.'
      : `Found ${found.map(([kind, count]) => `${count} × ${kind}`).join(', ')}; ${summary.repaired} repaired.`,
  ];
  if (summary.damagedLayers > 0)
    lines.push(`${summary.damagedLayers} layers are marked damaged and wait to be pushed again.`);
  return lines.join('\n');
}

function sampling(hashing: Hashing): string {
  if (typeof hashing === 'string') return '';
  const part = 'percent' in hashing ? `${hashing.percent}%` : `${hashing.layers} layers`;
  return ` (--sample ${part.replace(' layers', '')} --seed ${hashing.seed})`;
}
