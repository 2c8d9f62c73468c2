/** Blobs of 512 bytes and whole small images, each of its own bytes. Their digests are a microsecond each and made on the way. */
import { createHash, randomBytes } from 'node:crypto';
import { goOn, head, locationOf, openConnections } from './http.mjs';
import { Latencies } from './latencies.mjs';
import { presigned } from './sign.mjs';

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

const run = randomBytes(8).toString('hex');
let made = 0;

/** POST, then PUT with the body. */
export async function pushBlobs({ target, repository, bytes, ...load }) {
  return timed(target, load, (connection) => pushBlob(connection, target, repository, uniqueBytes(bytes)));
}

/** PutObject of as many bytes: one request, the least a store can be asked for. */
export async function putSmallObjects({ target, bucket, bytes, most = 20_000, ...load }) {
  const paths = [];
  for (let n = 0; n < most; n += 1)
    paths.push(await presigned(target, 'PUT', `/${bucket}/small/${run}-${(made += 1)}`));
  const requests = paths.map((path) => head(target, 'PUT', path, { 'Content-Length': bytes }));
  return timed(target, load, async (connection) => {
    const text = requests.pop();
    if (!text) throw new Error('More objects could have been put than were signed');
    (await connection.send(text, uniqueBytes(bytes))).expect(200, 'PutObject');
  });
}

/** A layer, a config and a manifest with a tag, all unique; worker n pushes to repository n modulo their number. */
export async function pushImages({ target, repositories, ...load }) {
  return timed(target, load, (connection, worker) =>
    pushImage(connection, target, repositories[worker % repositories.length]),
  );
}

/** A number of images that differ in their manifests, tagged v1, v2 …, however long that takes. @returns {Promise<{ run, close }>} `run` gives the digests of their manifests */
export async function seedImages({ target, repository, images, first = 1, concurrency }) {
  const connections = await openConnections(target, concurrency);
  return {
    async run() {
      const [blob] = connections;
      const layer = await pushBlob(blob, target, repository, uniqueBytes(512));
      const config = await pushBlob(blob, target, repository, configBytes());
      const manifests = [];
      const began = performance.now();
      let begun = 0;
      await Promise.all(
        connections.map(async (connection) => {
          while (begun < images) {
            const number = begun;
            begun += 1;
            const { digest, bytes } = await putManifest(
              connection,
              target,
              repository,
              `v${first + number}`,
              layer,
              config,
            );
            manifests[number] = { digest, bytes };
          }
        }),
      );
      return { seconds: (performance.now() - began) / 1000, layer, config, manifests };
    },
    close: () => connections.forEach((connection) => connection.close()),
  };
}

async function timed(target, { concurrency, ...limit }, push) {
  const connections = await openConnections(target, concurrency);
  return {
    async run() {
      const latencies = new Latencies();
      const took = await goOn(limit, connections, async (connection, worker) => {
        const began = performance.now();
        await push(connection, worker);
        latencies.add(performance.now() - began);
      });
      return { seconds: took, requests: latencies.count, latencies: latencies.summary() };
    },
    close: () => connections.forEach((connection) => connection.close()),
  };
}

export async function pushImage(connection, target, repository) {
  const layer = await pushBlob(connection, target, repository, uniqueBytes(512));
  const config = await pushBlob(connection, target, repository, configBytes());
  return putManifest(connection, target, repository, `t${(made += 1)}`, layer, config);
}

async function pushBlob(connection, target, repository, bytes) {
  const digest = digestOf(bytes);
  const post = head(target, 'POST', `/v2/${repository}/blobs/uploads/`, { 'Content-Length': 0 });
  const begun = (await connection.send(post)).expect(202, 'POST');
  const put = head(target, 'PUT', locationOf(begun, `digest=${encodeURIComponent(digest)}`), {
    'Content-Type': 'application/octet-stream',
    'Content-Length': bytes.length,
  });
  (await connection.send(put, bytes)).expect(201, 'PUT');
  return { digest, size: bytes.length };
}

export async function putManifest(connection, target, repository, tag, layer, config) {
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, ...config },
      layers: [{ mediaType: LAYER_TYPE, ...layer }],
      annotations: { 'org.opencontainers.image.version': `${run}-${tag}` },
    }),
  );
  const put = head(target, 'PUT', `/v2/${repository}/manifests/${tag}`, {
    'Content-Type': MANIFEST_TYPE,
    'Content-Length': manifest.length,
  });
  (await connection.send(put, manifest)).expect(201, 'PUT of a manifest');
  return { digest: digestOf(manifest), bytes: manifest.length, tag };
}

function uniqueBytes(length) {
  const bytes = Buffer.alloc(length, run);
  bytes.writeUInt32LE((made += 1));
  return bytes;
}

function configBytes() {
  const config = { architecture: 'amd64', os: 'linux', config: { Labels: { n: `${run}-${(made += 1)}` } } };
  return Buffer.from(JSON.stringify({ ...config, rootfs: { type: 'layers', diff_ids: [] } }));
}

function digestOf(bytes) {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
