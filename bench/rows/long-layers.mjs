import { GIBIBYTE, MEBIBYTE, REPOSITORY } from '../bench.mjs';
import { claimOf } from '../claims.mjs';
import { number } from '../report/report.mjs';
import { table } from '../report/table.mjs';
import { memory, resetPeakMemory } from '../subjects/processes.mjs';

const MEMORY_LIMITS = { atMost: 256, aim: 128, unit: 'MiB' };
const PACE_LIMITS = { atLeast: 0.9, aim: 0.98 };

/** Each on a service just started, so that what one needed is not there for the next. */
function workOf(bench) {
  const gibibytes = bench.size(8, 2);
  const long = `${gibibytes} GiB`;
  return [
    {
      name: '64 parts of 20 MiB at once',
      job: 'uploadPartsAtOnce',
      parameters: { sessions: 64, bytes: 20 * MEBIBYTE },
    },
    { name: `a layer of ${long} by /v2`, job: 'streamLayer', parameters: { gibibytes }, pull: true },
    { name: `a layer of ${long} by UploadLayerPart`, job: 'streamParts', parameters: { gibibytes } },
  ];
}

async function measure(bench, where, minio) {
  const claims = [];
  const rows = [];
  for (const { name, job, parameters, pull } of workOf(bench)) {
    const stowage = await bench.stowage({
      minio: minio && (await bench.minio()),
      settings: { STOWAGE_BLOB_DELIVERY: 'stream' },
    });
    const place = { target: stowage.target, repository: REPOSITORY };
    const grown = async (what, work) => {
      const before = memory(stowage.pid, 'VmRSS');
      resetPeakMemory(stowage.pid);
      const result = await work();
      const growth = (memory(stowage.pid, 'VmHWM') - before) / MEBIBYTE;
      const pace = result.bytes / MEBIBYTE / result.seconds;
      bench.log(
        `  ${what}: ${growth.toFixed(0)} MiB more than ${(before / MEBIBYTE).toFixed(0)}, ${pace.toFixed(0)} MiB/s`,
      );
      claims.push(claimOf(11, `RSS growth ${where}: ${what}`, Math.max(growth, 0), MEMORY_LIMITS));
      rows.push([what, (before / MEBIBYTE).toFixed(0), growth.toFixed(0), pace.toFixed(0), paces(result)]);
      return result;
    };
    const { gibibyteSeconds, digest, bytes } = await grown(name, () =>
      bench.client.run(job, { ...place, ...parameters }),
    );
    if (gibibyteSeconds)
      claims.push(
        claimOf(
          12,
          `last GiB ÷ first ${where}: ${name}`,
          gibibyteSeconds[0] / gibibyteSeconds.at(-1),
          PACE_LIMITS,
        ),
      );
    if (pull) {
      const pulls = { digests: [digest], pulls: 1, concurrency: 1, bytes, verify: true };
      await grown(`the same pulled by /v2`, () => bench.client.run('pullLayers', { ...place, ...pulls }));
    }
    await bench.clear();
  }
  const head = ['work', 'RSS before MiB', 'growth MiB', 'MiB/s', 'MiB/s of each GiB'];
  return { claims, notes: [table(head, rows)] };
}

function paces({ gibibyteSeconds }) {
  return gibibyteSeconds?.map((seconds) => number(GIBIBYTE / MEBIBYTE / seconds)).join(' ') ?? '';
}

export const longLayersOnDisk = {
  rows: [11, 12],
  tags: ['long', 'disk'],
  title: 'many parts at once, and a layer of 8 GiB, on local disk',
  run: (bench) => measure(bench, 'on disk', false),
};

export const longLayersOnMinio = {
  rows: [11, 12],
  tags: ['long', 'minio'],
  title: 'many parts at once, and a layer of 8 GiB, on MinIO',
  run: (bench) => measure(bench, 'on MinIO', true),
};
