import { Connection } from './connection.mjs';

/**
 * @typedef {object} Target a server under load
 * @property {string} host
 * @property {number} port
 * @property {string} [authorization] sent with every request
 */

/** @returns {string} the head of a request, ready to be written */
export function head(target, method, path, headers = {}) {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${target.host}:${target.port}`];
  if (target.authorization) lines.push(`Authorization: ${target.authorization}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** @returns {Promise<Connection[]>} */
export function openConnections(target, count) {
  return Promise.all(Array.from({ length: count }, () => Connection.open(target)));
}

/** Path and query of an upload's Location, which may be absolute, with more parameters behind. */
export function locationOf(response, parameters) {
  const location = response.header('location').replace(/^https?:\/\/[^/]+/, '');
  if (!parameters) return location;
  return `${location}${location.includes('?') ? '&' : '?'}${parameters}`;
}

/** Each worker takes the next index until all are taken. */
export async function shareOut(count, workers, work) {
  let next = 0;
  await Promise.all(
    workers.map(async (worker, number) => {
      while (next < count) await work(next++, worker, number);
    }),
  );
}

/**
 * Each worker goes on until the time is up, or the number of calls reached; what has begun is finished.
 * @param {{ seconds?: number, calls?: number }} limit
 * @returns {Promise<number>} seconds it took
 */
export async function goOn({ seconds = Infinity, calls = Infinity }, workers, work) {
  const began = performance.now();
  const end = began + seconds * 1000;
  let begun = 0;
  await Promise.all(
    workers.map(async (worker, number) => {
      while (performance.now() < end && begun < calls) {
        begun += 1;
        await work(worker, number);
      }
    }),
  );
  return (performance.now() - began) / 1000;
}
