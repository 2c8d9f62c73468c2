import { perSecond, REPOSITORY } from '../bench.mjs';
import { claim } from '../claims.mjs';
import { ratio } from '../statistics.mjs';

const BYTES = 512;

const pushOf = (bench) => ({ bytes: BYTES, seconds: bench.size(3, 1), concurrency: 16 });

const push = (bench, service) => ({
  name: service.name,
  service,
  job: 'pushBlobs',
  parameters: { target: service.target, repository: REPOSITORY, ...pushOf(bench) },
  ...perSecond,
});

export const smallBlobsOnMinio = {
  rows: [9],
  tags: ['push', 'small', 'minio'],
  title: 'pushes of 512-byte blobs (POST, PUT), 16 at a time, on MinIO',
  async run(bench) {
    const minio = await bench.minio();
    const { stowage, distribution, all } = await bench.registries({ minio });
    const raw = { bucket: 'raw', minio };
    await minio.createBucket(raw.bucket);
    const put = {
      name: 'raw PutObject',
      service: raw,
      job: 'putSmallObjects',
      parameters: {
        target: minio.target,
        bucket: raw.bucket,
        ...pushOf(bench),
        most: bench.size(6000, 2000),
      },
      ...perSecond,
    };
    const series = await bench.alternate([put, ...all.map((service) => push(bench, service))]);
    const of = (service) => service && series.find((one) => one.service === service);
    const aim = of(distribution) ? ratio(of(raw).values, of(distribution).values).value : "one PUT's rate";
    return {
      series,
      claims: [
        claim(9, '512-byte pushes on MinIO ÷ distribution on MinIO', of(stowage), of(distribution), {
          atLeast: 3,
          aim,
        }),
      ],
    };
  },
};

export const smallBlobsOnDisk = {
  rows: [9],
  tags: ['push', 'small', 'disk'],
  title: 'pushes of 512-byte blobs (POST, PUT), 16 at a time, on local disk',
  async run(bench) {
    const { stowage, distribution, all } = await bench.registries();
    const series = await bench.alternate(all.map((service) => push(bench, service)));
    const of = (service) => service && series.find((one) => one.service === service);
    return {
      series,
      claims: [
        claim(9, '512-byte pushes on disk ÷ distribution, disk', of(stowage), of(distribution), {
          atLeast: 0.8,
          aim: 1.5,
        }),
      ],
    };
  },
};

export const imagesIntoOneRepository = {
  rows: [10],
  tags: ['push', 'small', 'disk'],
  title: 'pushes of small images (layer, config, manifest), 32 clients, local disk',
  async run(bench) {
    const stowage = await bench.stowage();
    const many = Array.from({ length: 64 }, (_, n) => `bench/many/${n}`);
    for (const name of many) await stowage.createRepository(name);
    const into = (name, repositories) => ({
      name,
      service: stowage,
      job: 'pushImages',
      parameters: { target: stowage.target, repositories, seconds: bench.size(4, 1), concurrency: 32 },
      ...perSecond,
    });
    const series = await bench.alternate([
      into('into one repository', [REPOSITORY]),
      into('over 64 repositories', many),
    ]);
    return {
      series,
      claims: [claim(10, 'images into one repository ÷ over 64', ...series, { atLeast: 0.8, aim: 0.95 })],
    };
  },
};
