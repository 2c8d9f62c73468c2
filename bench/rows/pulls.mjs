import { MEBIBYTE, mebibytesPerSecond, REPOSITORY } from '../bench.mjs';
import { claim } from '../claims.mjs';

const LAYERS = 4;
const BYTES = 32 * MEBIBYTE;

const pullsOf = (bench) => ({ pulls: bench.size(32, 8), concurrency: 2, bytes: BYTES });

/** Pushes what is going to be pulled. @returns {Promise<object[]>} the subjects */
async function seed(bench, services, pulls) {
  const subjects = [];
  for (const service of services) {
    const layers = { target: service.target, layers: LAYERS, bytes: BYTES, concurrency: 2 };
    const { digests } = await bench.client.run('pushLayers', { ...layers, repository: REPOSITORY });
    const parameters = { target: service.target, repository: REPOSITORY, digests, ...pulls };
    subjects.push({ name: service.name, service, job: 'pullLayers', parameters, ...mebibytesPerSecond });
  }
  return subjects;
}

export const pullRedirected = {
  rows: [5],
  tags: ['pull', 'minio'],
  title: 'pull of 32 MiB layers, 2 at once, redirected to MinIO',
  async run(bench) {
    const minio = await bench.minio();
    const { stowage, all } = await bench.registries({ minio });
    const pulls = pullsOf(bench);
    const raw = { bucket: 'raw', minio };
    await minio.createBucket(raw.bucket);
    const place = { target: minio.target, bucket: raw.bucket };
    const { digests } = await bench.client.run('putObjects', {
      ...place,
      layers: LAYERS,
      bytes: BYTES,
      concurrency: 2,
    });
    const series = await bench.alternate([
      {
        name: 'raw GetObject',
        service: raw,
        job: 'getObjects',
        parameters: { ...place, digests, ...pulls },
        ...mebibytesPerSecond,
      },
      ...(await seed(bench, all, pulls)),
    ]);
    const of = (service) => series.find((one) => one.service === service);
    return {
      series,
      claims: [
        claim(5, 'pull, redirected ÷ raw GetObject', of(stowage), of(raw), { atLeast: 0.85, aim: 0.95 }),
      ],
    };
  },
};

export const pullFromDisk = {
  rows: [6],
  tags: ['pull', 'disk'],
  title: 'pull of 32 MiB layers, 2 at once, streamed from local disk',
  async run(bench) {
    const { stowage, distribution, all } = await bench.registries();
    const series = await bench.alternate(await seed(bench, all, pullsOf(bench)));
    const of = (service) => series.find((one) => one.service === service);
    return {
      series,
      claims: [
        claim(6, 'pull from local disk ÷ distribution, disk', of(stowage), of(distribution), {
          atLeast: 0.4,
          aim: 0.7,
        }),
      ],
    };
  },
};
