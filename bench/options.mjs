import { parseArgs } from 'node:util';

const USAGE = `npm run bench -- [options]
  --rows 1,2,5       only these rows
  --only-tag push    only rows with this tag (push, pull, requests, small, minio, disk, ecr); may be repeated
  --rounds 5         measured rounds after one warm-up
  --quick            smaller sizes, no waiting for MinIO's counters
  --profile          Stowage alone, under node --cpu-prof; a summary per row in bench/results/profiles
  --no-write         no results file`;

/** @returns {{ rows?: number[], tags: string[], rounds: number, quick: boolean, profile: boolean, costs: boolean, write: boolean }} */
export function parseOptions(args) {
  try {
    const { values } = parseArgs({
      args,
      allowNegative: true,
      options: {
        rows: { type: 'string' },
        'only-tag': { type: 'string', multiple: true, default: [] },
        rounds: { type: 'string', default: '5' },
        quick: { type: 'boolean', default: false },
        profile: { type: 'boolean', default: false },
        write: { type: 'boolean' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const rounds = Number(values.rounds);
    if (!Number.isInteger(rounds) || rounds < 1)
      throw new Error(`--rounds ${values.rounds} is no number of rounds`);
    return {
      rows: values.rows?.split(',').map(Number),
      tags: values['only-tag'],
      rounds,
      quick: values.quick,
      profile: values.profile,
      costs: !values.quick && !values.profile,
      write: values.write ?? (!values.quick && !values.profile),
    };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(64);
  }
}
