/** One small request over and over, as many at a time as there are connections. */
import { goOn, head, openConnections } from './http.mjs';
import { Latencies } from './latencies.mjs';

/**
 * @param {{ target: import('./http.mjs').Target, method: 'GET' | 'HEAD', path: string, headers?: Record<string, string>,
 *   bytes?: number, seconds?: number, calls?: number, concurrency: number }} parameters `bytes`: length every answer must have
 */
export async function request({ target, method, path, headers, bytes, concurrency, ...limit }) {
  const connections = await openConnections(target, concurrency);
  const text = head(target, method, path, headers);
  const options = { isHead: method === 'HEAD' };
  return {
    async run() {
      const latencies = new Latencies();
      const took = await goOn(limit, connections, async (connection) => {
        const began = performance.now();
        const answer = await connection.send(text, undefined, options);
        latencies.add(performance.now() - began);
        answer.expect(200, `${method} ${path}`);
        if (bytes !== undefined && answer.length !== bytes)
          throw new Error(`${answer.length} bytes came instead of ${bytes}`);
      });
      return { seconds: took, requests: latencies.count, latencies: latencies.summary() };
    },
    close: () => connections.forEach((connection) => connection.close()),
  };
}
