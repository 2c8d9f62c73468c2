import { BatchCheckLayerAvailabilityCommand } from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KIBIBYTE, REPOSITORY } from '../bench.mjs';
import { claimOf } from '../claims.mjs';
import { MANIFEST_TYPE } from '../client/small-pushes.mjs';
import { table } from '../report/table.mjs';

const PRELOAD = join(import.meta.dirname, '../subjects/count-statements.mjs');
const DIGESTS = 100;
const CALLS = 10;
/** What an answered request may still write behind it. */
const SETTLE_MS = 300;

export const statementsPerCall = {
  rows: [14],
  tags: ['requests', 'disk', 'ecr'],
  title: 'SQL statements per call',
  async run(bench) {
    const file = join(await bench.folder(), 'statements.log');
    writeFileSync(file, '');
    const stowage = await bench.stowage({
      nodeOptions: ['--import', PRELOAD],
      env: { BENCH_STATEMENTS_FILE: file },
      // Jobs ask the database as well, whenever it is their time.
      settings: { STOWAGE_ROLE: 'api' },
    });
    const target = stowage.target;
    const place = { target, repository: REPOSITORY };
    const seeded = await bench.client.run('seedImages', { ...place, images: 1, concurrency: 1 });
    const once = (job, parameters) =>
      bench.client.run(job, { ...place, calls: CALLS, concurrency: 1, ...parameters });

    const missing = Array.from({ length: DIGESTS - 1 }, (_, n) => digestOf(`missing ${n}`));
    const check = new BatchCheckLayerAvailabilityCommand({
      repositoryName: REPOSITORY,
      layerDigests: [seeded.layer.digest, ...missing],
    });
    const manifest = {
      method: 'GET',
      path: `/v2/${REPOSITORY}/manifests/v1`,
      headers: { Accept: MANIFEST_TYPE },
    };
    const blob = `/v2/${REPOSITORY}/blobs/${seeded.layer.digest}`;
    const works = {
      'BatchCheckLayerAvailability of 100 digests': async () => {
        for (let call = 0; call < CALLS; call += 1) await stowage.ecr.send(check);
      },
      'manifest GET by tag': () => once('request', manifest),
      'blob HEAD': () => once('request', { method: 'HEAD', path: blob }),
      'blob GET': () => once('request', { method: 'GET', path: blob }),
      'push of a 512-byte blob (POST, PUT)': () => once('pushBlobs', { bytes: 512 }),
      'push of a 64 KiB blob by POST, PATCH, PUT': () =>
        once('pushLayers', { layers: CALLS, bytes: 64 * KIBIBYTE }),
      'push of a small image (2 blobs, manifest)': () => once('pushImages', { repositories: [REPOSITORY] }),
    };
    const counts = [];
    for (const [name, work] of Object.entries(works)) {
      await work();
      await sleep(SETTLE_MS);
      writeFileSync(file, '');
      await work();
      await sleep(SETTLE_MS);
      const statements = readFileSync(file, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line));
      const edges = statements.filter((text) => EDGE.test(text)).length;
      counts.push({ name, statements: (statements.length - edges) / CALLS, edges: edges / CALLS });
      bench.log(
        `  ${name}: ${(statements.length - edges) / CALLS}, and ${edges / CALLS} edges of transactions`,
      );
    }
    const [availability] = counts;
    return {
      claims: [
        claimOf(
          14,
          'SQL statements per BatchCheckLayerAvailability of 100 digests',
          availability.statements,
          { atMost: 1, aim: 1 },
        ),
      ],
      notes: [
        table(
          ['call', 'statements', 'edges of transactions'],
          counts.map(({ name, statements, edges }) => [name, String(statements), String(edges)]),
        ),
      ],
    };
  },
};

const EDGE = /^(BEGIN|COMMIT|ROLLBACK|SET TRANSACTION|SAVEPOINT|RELEASE)/i;

function digestOf(text) {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
