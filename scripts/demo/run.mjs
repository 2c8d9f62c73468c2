/** What `npm run demo` does, on the project's own Node. */
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  BatchGetImageCommand,
  CompleteLayerUploadCommand,
  CreateRepositoryCommand,
  DescribeRepositoriesCommand,
  ECRClient,
  GetAuthorizationTokenCommand,
  GetDownloadUrlForLayerCommand,
  InitiateLayerUploadCommand,
  ListImagesCommand,
  PutImageCommand,
  RepositoryAlreadyExistsException,
  UploadLayerPartCommand,
} from '@aws-sdk/client-ecr';
import cliProgress from 'cli-progress';
import { makeImage } from './image.mjs';
import { Steps } from './steps.mjs';

const repositoryName = 'stowage-demo';
const imageTag = 'latest';
const LAYER_MEBIBYTES = [32, 24, 8];
const endpoint = process.env.AWS_ENDPOINT_URL_ECR;

const ecr = new ECRClient({});
const steps = new Steps();
const bars = new cliProgress.MultiBar(
  { format: '  {step} {bar} {percentage}%  {layer}', hideCursor: true, clearOnComplete: true },
  cliProgress.Presets.shades_classic,
);

try {
  await demo();
} catch (error) {
  if (bars.isActive) bars.stop();
  console.error(explain(error));
  process.exitCode = 1;
}

async function demo() {
  const { proxyEndpoint, authorizationToken } = await logIn();
  const { repositoryUri, created } = await ensureRepository();
  console.log(`${created ? 'Created' : 'Found'} the repository ${repositoryUri}`);

  const image = makeImage(LAYER_MEBIBYTES);
  const blobs = [...image.layers, image.config];
  const total = sum(blobs) + image.manifest.bytes.length;

  await steps.run('push', total, 'UploadLayerPart, PutImage', async () => {
    const { layers } = await ecr.send(
      new BatchCheckLayerAvailabilityCommand({
        repositoryName,
        layerDigests: blobs.map(({ digest }) => digest),
      }),
    );
    const available = new Set(
      layers.filter((l) => l.layerAvailability === 'AVAILABLE').map((l) => l.layerDigest),
    );
    await Promise.all(blobs.filter(({ digest }) => !available.has(digest)).map(pushLayer));
    const { image: stored } = await ecr.send(
      new PutImageCommand({
        repositoryName,
        imageTag,
        imageManifest: image.manifest.bytes.toString(),
        imageManifestMediaType: image.mediaType,
        imageDigest: image.manifest.digest,
      }),
    );
    same('the digest PutImage gave', stored.imageId.imageDigest, image.manifest.digest);
  });
  await steps.run('pull by ECR', total, 'BatchGetImage, GetDownloadUrlForLayer', () => pullByEcr(image));
  await steps.run('pull by /v2', total, 'GET /v2/…/manifests, …/blobs', () =>
    pullByOci(image, proxyEndpoint, authorizationToken),
  );
  if (bars.isActive) bars.stop();
  const removed = await removeEarlierImages();

  console.log(steps.table());
  console.log(`Every byte came back as it went: ${image.manifest.digest}`);
  if (removed > 0) console.log(`Removed ${removed} image(s) of earlier runs.`);
  const host = proxyEndpoint.replace(/^https?:\/\//, '');
  console.log(`Also with docker, after docker login ${host}: docker pull ${repositoryUri}:${imageTag}`);
}

async function logIn() {
  const { authorizationData } = await ecr.send(new GetAuthorizationTokenCommand({}));
  return authorizationData[0];
}

async function ensureRepository() {
  try {
    const { repository } = await ecr.send(new CreateRepositoryCommand({ repositoryName }));
    return { repositoryUri: repository.repositoryUri, created: true };
  } catch (error) {
    if (!(error instanceof RepositoryAlreadyExistsException)) throw error;
  }
  const { repositories } = await ecr.send(
    new DescribeRepositoriesCommand({ repositoryNames: [repositoryName] }),
  );
  return { repositoryUri: repositories[0].repositoryUri, created: false };
}

/** The four calls of the layer API; the registry says how large a part may be. */
async function pushLayer({ bytes, digest }) {
  const bar = startBar('push', digest, bytes.length);
  const { uploadId, partSize } = await ecr.send(new InitiateLayerUploadCommand({ repositoryName }));
  for (let first = 0; first < bytes.length; first += partSize) {
    const layerPartBlob = bytes.subarray(first, first + partSize);
    const partLastByte = first + layerPartBlob.length - 1;
    const { lastByteReceived } = await ecr.send(
      new UploadLayerPartCommand({
        repositoryName,
        uploadId,
        partFirstByte: first,
        partLastByte,
        layerPartBlob,
      }),
    );
    same('lastByteReceived', lastByteReceived, partLastByte);
    bar.update(partLastByte + 1);
  }
  const { layerDigest } = await ecr.send(
    new CompleteLayerUploadCommand({ repositoryName, uploadId, layerDigests: [digest] }),
  );
  same('the digest CompleteLayerUpload gave', layerDigest, digest);
}

async function pullByEcr(image) {
  const { images } = await ecr.send(new BatchGetImageCommand({ repositoryName, imageIds: [{ imageTag }] }));
  same('the manifest', images[0]?.imageManifest, image.manifest.bytes.toString());
  await Promise.all(
    [...image.layers, image.config].map(async (blob) => {
      const { downloadUrl } = await ecr.send(
        new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest: blob.digest }),
      );
      await compare(await fetch(downloadUrl), blob, 'pull by ECR');
    }),
  );
}

async function pullByOci(image, proxyEndpoint, authorizationToken) {
  const get = (path, headers) =>
    fetch(new URL(`/v2/${repositoryName}/${path}`, proxyEndpoint), {
      headers: { ...headers, authorization: `Basic ${authorizationToken}` },
    });
  await compare(await get(`manifests/${imageTag}`, { accept: image.mediaType }), image.manifest);
  await Promise.all(
    [...image.layers, image.config].map(async (blob) =>
      compare(await get(`blobs/${blob.digest}`), blob, 'pull by /v2'),
    ),
  );
}

/** Byte by byte as they arrive. A `step` shows its progress. */
async function compare(response, { bytes, digest }, step) {
  if (!response.ok) throw new Error(`${response.url} answered ${response.status} ${await response.text()}`);
  const bar = step && startBar(step, digest, bytes.length);
  let offset = 0;
  for await (const chunk of response.body) {
    if (bytes.compare(chunk, 0, chunk.length, offset, offset + chunk.length) !== 0)
      throw new Error(`${digest} came back different after byte ${offset}`);
    offset += chunk.length;
    bar?.update(offset);
  }
  same(`the length of ${digest}`, offset, bytes.length);
}

/** The tag has moved on, so what earlier runs pushed is untagged now. Their layers go with the next collection. */
async function removeEarlierImages() {
  const { imageIds } = await ecr.send(
    new ListImagesCommand({ repositoryName, filter: { tagStatus: 'UNTAGGED' }, maxResults: 100 }),
  );
  if (imageIds.length === 0) return 0;
  const { imageIds: deleted } = await ecr.send(new BatchDeleteImageCommand({ repositoryName, imageIds }));
  return deleted.length;
}

function startBar(step, digest, size) {
  return bars.create(size, 0, { step: step.padEnd(11), layer: digest.slice(0, 19) });
}

function same(what, actual, expected) {
  if (actual !== expected) throw new Error(`Expected ${what} to be ${expected}, but it is ${actual}`);
}

function sum(blobs) {
  return blobs.reduce((total, { bytes }) => total + bytes.length, 0);
}

function explain(error) {
  const code = error.code ?? error.cause?.code;
  if (['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ECONNRESET'].includes(code))
    return `No registry answers at ${endpoint} (${code}). Start one in another terminal: npm start`;
  if (['UnrecognizedClientException', 'InvalidSignatureException'].includes(error.name))
    return `${endpoint} does not know this key (${error.name}: ${error.message}). The key of a registry is in the file credentials of its data folder.`;
  if (error.name === 'CredentialsProviderError') return `There is no key to sign with: ${error.message}`;
  return error.$metadata ? `${endpoint} answered ${error.name}: ${error.message}` : (error.stack ?? error);
}
