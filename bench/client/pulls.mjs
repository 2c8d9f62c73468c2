/** Layers pulled, their bytes counted where they lie; on the warm-up they are hashed as well. */
import { createHash } from 'node:crypto';
import { Connection } from './connection.mjs';
import { head, openConnections, shareOut } from './http.mjs';
import { presigned } from './sign.mjs';

/**
 * GET of blobs by digest, over one redirect to the store where there is one.
 * @param {{ target: import('./http.mjs').Target, repository: string, digests: string[], pulls: number, concurrency: number,
 *   bytes: number, verify?: boolean }} parameters
 */
export async function pullLayers({ target, repository, digests, pulls, concurrency, bytes, verify }) {
  const requests = digests.map((digest) => head(target, 'GET', `/v2/${repository}/blobs/${digest}`));
  return preparePulls(
    { target, pulls, concurrency, bytes, digests, verify },
    async (worker, layer, onBody) => {
      const answer = await worker.connection.send(requests[layer], undefined, { onBody });
      if (answer.status !== 307) return answer;
      const { hostname: host, port, pathname, search } = new URL(answer.header('location'));
      worker.store ??= await Connection.open({ host, port: Number(port) });
      const store = { host, port: Number(port) };
      return worker.store.send(head(store, 'GET', `${pathname}${search}`), undefined, { onBody });
    },
  );
}

/** GetObject of the same bytes, presigned beforehand. */
export async function getObjects({ target, bucket, digests, pulls, concurrency, bytes, verify }) {
  const requests = await Promise.all(
    digests.map(async (digest) =>
      head(target, 'GET', await presigned(target, 'GET', `/${bucket}/layers/${digest.slice(7)}`)),
    ),
  );
  return preparePulls(
    { target, pulls, concurrency, bytes, digests, verify },
    ({ connection }, layer, onBody) => connection.send(requests[layer], undefined, { onBody }),
  );
}

async function preparePulls({ target, pulls, concurrency, bytes, digests, verify }, pull) {
  const connections = await openConnections(target, concurrency);
  const workers = connections.map((connection) => ({ connection, store: undefined }));
  return {
    async run() {
      const began = performance.now();
      await shareOut(pulls, workers, async (n, worker) => {
        const layer = n % digests.length;
        const hash = verify && createHash('sha256');
        const answer = await pull(worker, layer, hash && ((chunk) => hash.update(chunk)));
        answer.expect(200, 'GET of a layer');
        if (answer.length !== bytes) throw new Error(`${answer.length} bytes came of a layer of ${bytes}`);
        if (hash && `sha256:${hash.digest('hex')}` !== digests[layer])
          throw new Error('Other bytes came than went');
      });
      return { seconds: (performance.now() - began) / 1000, bytes: pulls * bytes };
    },
    close: () =>
      workers.forEach(({ connection, store }) => [connection, store].forEach((one) => one?.close())),
  };
}
