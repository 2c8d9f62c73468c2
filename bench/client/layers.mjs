/** Layers of many MiB: pushed the way docker does, or put into the store directly. */
import { head, locationOf, openConnections } from './http.mjs';
import { Payload } from './payload.mjs';
import { presigned } from './sign.mjs';

/**
 * POST, one PATCH with all the bytes, an empty PUT.
 * @param {{ target: import('./http.mjs').Target, repository: string, layers: number, bytes: number, concurrency: number,
 *   chunked?: boolean }} parameters `chunked` as docker does it, else with a Content-Length
 */
export async function pushLayers({ target, repository, layers, bytes, concurrency, chunked = true }) {
  const length = chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': bytes };
  const begin = head(target, 'POST', `/v2/${repository}/blobs/uploads/`, { 'Content-Length': 0 });
  return prepareLayers(
    { target, layers, bytes, concurrency, chunked },
    async (connection, payload, digest) => {
      const begun = (await connection.send(begin)).expect(202, 'POST');
      const patch = head(target, 'PATCH', locationOf(begun), {
        'Content-Type': 'application/octet-stream',
        ...length,
      });
      const patched = (await connection.send(patch, payload.wire)).expect(202, 'PATCH');
      const put = head(target, 'PUT', locationOf(patched, `digest=${encodeURIComponent(digest)}`), {
        'Content-Length': 0,
      });
      (await connection.send(put)).expect(201, 'PUT');
    },
  );
}

/** The same bytes by presigned PutObject with an unsigned payload: what the store itself can do. */
export async function putObjects({ target, bucket, layers, bytes, concurrency }) {
  return prepareLayers(
    { target, layers, bytes, concurrency },
    async (connection, payload, digest, path) => {
      (await connection.send(head(target, 'PUT', path, { 'Content-Length': bytes }), payload.wire)).expect(
        200,
        'PutObject',
      );
    },
    (digest) => presigned(target, 'PUT', `/${bucket}/layers/${digest.slice(7)}`),
  );
}

async function prepareLayers({ target, layers, bytes, concurrency, chunked }, push, prepare) {
  const connections = await openConnections(target, concurrency);
  const plans = await Promise.all(
    connections.map(async (connection, worker) => {
      const payload = new Payload(bytes, { chunked });
      const pushes = [];
      for (let layer = worker; layer < layers; layer += concurrency) {
        const number = payload.renew();
        const digest = payload.digest();
        pushes.push({ number, digest, path: await prepare?.(digest) });
      }
      return { connection, payload, pushes };
    }),
  );
  return {
    async run() {
      const began = performance.now();
      await Promise.all(
        plans.map(async ({ connection, payload, pushes }) => {
          for (const { number, digest, path } of pushes) {
            payload.stamp(number);
            await push(connection, payload, digest, path);
          }
        }),
      );
      const seconds = (performance.now() - began) / 1000;
      return { seconds, bytes: layers * bytes };
    },
    digests: plans.flatMap(({ pushes }) => pushes.map(({ digest }) => digest)),
    close: () => connections.forEach((connection) => connection.close()),
  };
}
