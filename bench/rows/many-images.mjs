import { DescribeImagesCommand, ListImagesCommand } from '@aws-sdk/client-ecr';
import { claim } from '../claims.mjs';
import { MANIFEST_TYPE } from '../client/small-pushes.mjs';

const CALLS = 100;
const PAGE = 100;
const BATCH = 100;
const LIMITS = { atMost: 1.5, aim: 1.1 };
/** Jobs one client runs call after call; what counts is how long the median call takes. */
const milliseconds = { unit: 'ms', value: ({ latencies }) => latencies.p50 };

/** Two repositories of one service, one with twenty times as many images. */
export const manyImages = {
  rows: [13],
  tags: ['requests', 'ecr', 'disk'],
  title: 'median latency in a repository of 20,000 images and in one of 1,000, one client',
  async run(bench) {
    const stowage = await bench.stowage();
    const { target } = stowage;
    const batches = bench.size(3, 1);
    const repositories = [];
    for (const images of [bench.size(1_000, 200), bench.size(20_000, 4_000)])
      repositories.push(await seed(bench, stowage, images));

    const subjects = (what, subjectOf) =>
      repositories.map((repository) => ({
        name: `${what}, ${repository.images.toLocaleString('en')} images`,
        service: stowage,
        ...milliseconds,
        ...subjectOf(repository),
      }));
    const ecr = (operation, inputs, holds) => ({
      job: 'callEcr',
      parameters: { target, operation, inputs, holds },
    });
    const repeated = (input) => Array.from({ length: CALLS }, () => input);
    const page = ({ name }, nextToken) => repeated({ repositoryName: name, maxResults: PAGE, nextToken });
    const halfway = new Map();
    for (const repository of repositories)
      halfway.set(repository, {
        DescribeImages: await tokenHalfway(stowage.ecr, DescribeImagesCommand, repository),
        ListImages: await tokenHalfway(stowage.ecr, ListImagesCommand, repository),
      });

    const pairs = {
      'manifest by tag': ({ name, images }) => ({
        job: 'request',
        parameters: {
          target,
          method: 'GET',
          path: `/v2/${name}/manifests/v${Math.floor(images / 2)}`,
          headers: { Accept: MANIFEST_TYPE },
          calls: CALLS * 3,
          concurrency: 1,
        },
      }),
      'DescribeImages, first page': (repository) => ecr('DescribeImages', page(repository), 'imageDetails'),
      'DescribeImages, page halfway': (repository) =>
        ecr('DescribeImages', page(repository, halfway.get(repository).DescribeImages), 'imageDetails'),
      'ListImages, first page': (repository) => ecr('ListImages', page(repository), 'imageIds'),
      'ListImages, page halfway': (repository) =>
        ecr('ListImages', page(repository, halfway.get(repository).ListImages), 'imageIds'),
      'push of a small image': ({ name }) => ({
        job: 'pushImages',
        parameters: { target, repositories: [name], calls: CALLS, concurrency: 1 },
      }),
      // Last, since it takes the tags along that others ask for.
      'BatchDeleteImage of 100': (repository) => ({
        ...ecr('BatchDeleteImage'),
        parameters: () => ({
          target,
          operation: 'BatchDeleteImage',
          inputs: takeBatches(repository, batches),
          holds: 'imageIds',
        }),
        // As many as before for the next round.
        afterwards: () => topUp(bench, stowage, repository, batches * BATCH),
      }),
    };
    const [few, many] = repositories.map(({ images }) => images.toLocaleString('en'));
    const sizes = `at ${many} images ÷ at ${few}`;
    const series = [];
    const claims = [];
    for (const [what, subjectOf] of Object.entries(pairs)) {
      const pair = await bench.alternate(subjects(what, subjectOf));
      series.push(...pair);
      claims.push(claim(13, `p50 ${sizes}: ${what}`, pair[1], pair[0], LIMITS));
    }
    return { series, claims };
  },
};

async function seed(bench, stowage, images) {
  const repository = { name: `bench/images-${images}`, images, digests: [], pushed: 0 };
  await stowage.createRepository(repository.name);
  await topUp(bench, stowage, repository, images);
  return repository;
}

async function topUp(bench, { target }, repository, images) {
  const place = { target, repository: repository.name };
  const { manifests, seconds } = await bench.client.run('seedImages', {
    ...place,
    images,
    first: repository.pushed + 1,
    concurrency: 16,
  });
  repository.pushed += images;
  repository.digests.push(...manifests.map(({ digest }) => digest));
  if (repository.pushed === images)
    bench.log(`  ${images} images pushed to ${repository.name} in ${seconds.toFixed(0)} s`);
}

/** From all over the repository. */
function takeBatches({ name, digests }, batches) {
  const takeOne = () => digests.splice(Math.floor(Math.random() * digests.length), 1)[0];
  return Array.from({ length: batches }, () => ({
    repositoryName: name,
    imageIds: Array.from({ length: BATCH }, () => ({ imageDigest: takeOne() })),
  }));
}

/** Pages are walked in the largest steps there are. */
async function tokenHalfway(ecr, Command, { name, images }) {
  let nextToken;
  for (let seen = 0; seen < images / 2;) {
    const step = Math.min(1000, Math.ceil(images / 2) - seen);
    const answer = await ecr.send(new Command({ repositoryName: name, maxResults: step, nextToken }));
    nextToken = answer.nextToken;
    seen += step;
  }
  return nextToken;
}
