import { MEBIBYTE, mebibytesPerSecond, REPOSITORY } from '../bench.mjs';
import { claim } from '../claims.mjs';

const push = (service, layers) => ({
  name: service.name,
  service,
  job: 'pushLayers',
  parameters: { target: service.target, repository: REPOSITORY, ...layers },
  ...mebibytesPerSecond,
});

/** Eight layers of 32 MiB, two at once. */
const layersOf = (bench) => ({ layers: bench.size(8, 4), bytes: 32 * MEBIBYTE, concurrency: 2 });

export const pushToMinio = {
  rows: [1, 2],
  tags: ['push', 'minio'],
  title: 'docker-style push of 8 × 32 MiB, 2 at once, to MinIO',
  async run(bench) {
    const minio = await bench.minio();
    const { stowage, distribution, all } = await bench.registries({ minio });
    const raw = { bucket: 'raw', minio };
    await minio.createBucket(raw.bucket);
    const layers = layersOf(bench);
    const rawPut = {
      name: 'raw PutObject',
      service: raw,
      job: 'putObjects',
      parameters: { target: minio.target, bucket: raw.bucket, ...layers },
      ...mebibytesPerSecond,
    };
    const series = await bench.alternate([rawPut, ...all.map((service) => push(service, layers))]);
    const of = (service) => series.find((one) => one.service === service);
    await bench.readStoreCosts(series, layers.layers * layers.bytes);
    return {
      series,
      claims: [
        claim(1, 'push to MinIO ÷ raw PutObject', of(stowage), of(raw), { atLeast: 0.75, aim: 0.9 }),
        claim(2, 'push to MinIO ÷ distribution on MinIO', of(stowage), of(distribution), {
          atLeast: 1.5,
          aim: 2,
        }),
      ],
    };
  },
};

export const layerParts = {
  rows: [3],
  tags: ['push', 'minio', 'ecr'],
  title: 'UploadLayerPart of 20 MiB, 2 sessions, signed bodies made beforehand, to MinIO',
  async run(bench) {
    const minio = await bench.minio();
    const stowage = await bench.stowage({ minio });
    const raw = { bucket: 'raw', minio };
    await minio.createBucket(raw.bucket);
    const parts = { sessions: 2, parts: bench.size(5, 3), bytes: 20 * MEBIBYTE };
    const series = await bench.alternate([
      {
        name: 'raw UploadPart',
        service: raw,
        job: 'uploadParts',
        parameters: { target: minio.target, bucket: raw.bucket, ...parts },
        ...mebibytesPerSecond,
      },
      {
        name: stowage.name,
        service: stowage,
        job: 'uploadLayerParts',
        parameters: { target: stowage.target, repository: REPOSITORY, ...parts },
        ...mebibytesPerSecond,
      },
    ]);
    const [ofRaw, ofStowage] = series;
    await bench.readStoreCosts(series, parts.sessions * parts.parts * parts.bytes);
    return {
      series,
      claims: [claim(3, 'UploadLayerPart ÷ raw UploadPart', ofStowage, ofRaw, { atLeast: 0.4, aim: 0.6 })],
    };
  },
};

export const pushToDisk = {
  rows: [4],
  tags: ['push', 'disk'],
  title: 'docker-style push of 8 × 32 MiB, 2 at once, to local disk',
  async run(bench) {
    const { stowage, distribution, all } = await bench.registries();
    const layers = layersOf(bench);
    const series = await bench.alternate(all.map((service) => push(service, layers)));
    const of = (service) => series.find((one) => one.service === service);
    return {
      series,
      claims: [
        claim(4, 'push to local disk ÷ distribution, disk', of(stowage), of(distribution), {
          atLeast: 0.7,
          aim: 1,
        }),
      ],
    };
  },
};
