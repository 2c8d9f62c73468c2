import { perSecond, REPOSITORY } from '../bench.mjs';
import { claim } from '../claims.mjs';
import { MANIFEST_TYPE } from '../client/small-pushes.mjs';
import { ratio } from '../statistics.mjs';

const CONCURRENCY = 16;

/** One small image in each; what is asked for is the same path everywhere. */
async function subjectsOf(bench, services, requestOf) {
  const subjects = [];
  for (const service of services) {
    const place = { target: service.target, repository: REPOSITORY };
    const { layer, manifests } = await bench.client.run('seedImages', {
      ...place,
      images: 1,
      concurrency: 1,
    });
    const parameters = {
      target: service.target,
      concurrency: CONCURRENCY,
      seconds: bench.size(3, 1),
      ...requestOf({ layer, manifest: manifests[0] }),
    };
    subjects.push({ name: service.name, service, job: 'request', parameters, ...perSecond });
  }
  return subjects;
}

/** What the aim names is known only where zot is. */
const aimOf = (zot, reference, of = 'values') =>
  zot && reference ? ratio(zot[of], reference[of]).value : 'zot, disk';

export const manifestByTag = {
  rows: [7],
  tags: ['requests', 'disk'],
  title: 'GET of a manifest by tag, 16 at a time, local disk',
  async run(bench) {
    const { stowage, distribution, zot, all } = await bench.registries();
    const subjects = await subjectsOf(bench, all, ({ manifest }) => ({
      method: 'GET',
      path: `/v2/${REPOSITORY}/manifests/v1`,
      headers: { Accept: MANIFEST_TYPE },
      bytes: manifest.bytes,
    }));
    const series = await bench.alternate(subjects);
    const of = (service) => service && series.find((one) => one.service === service);
    const pair = [of(stowage), of(distribution)];
    return {
      series,
      claims: [
        claim(7, 'manifest GET by tag, rps ÷ distribution, disk', ...pair, {
          atLeast: 1,
          aim: aimOf(of(zot), of(distribution)),
        }),
        claim(7, 'its p99 ÷ theirs', ...pair, {
          atMost: 1,
          aim: aimOf(of(zot), of(distribution), 'p99'),
          of: 'p99',
        }),
      ],
    };
  },
};

export const blobHead = {
  rows: [8],
  tags: ['requests', 'disk'],
  title: 'HEAD of a blob, 16 at a time, local disk',
  async run(bench) {
    const { stowage, distribution, zot, all } = await bench.registries();
    const subjects = await subjectsOf(bench, all, ({ layer }) => ({
      method: 'HEAD',
      path: `/v2/${REPOSITORY}/blobs/${layer.digest}`,
    }));
    const series = await bench.alternate(subjects);
    const of = (service) => service && series.find((one) => one.service === service);
    return {
      series,
      claims: [
        claim(8, 'blob HEAD, rps ÷ distribution, disk', of(stowage), of(distribution), {
          atLeast: 1,
          aim: aimOf(of(zot), of(distribution)),
        }),
      ],
    };
  },
};
