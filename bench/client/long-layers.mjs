/** Layers too long to be held: made while they are sent, and timed GiB by GiB. */
import { createHash } from 'node:crypto';
import { head, locationOf, openConnections } from './http.mjs';
import { partBody } from './parts.mjs';
import { Payload } from './payload.mjs';
import { signedCall } from './sign.mjs';

const MEBIBYTE = 1024 * 1024;
const GIBIBYTE = 1024 * MEBIBYTE;
/** Written ahead of the socket; a buffer is filled anew only once its bytes are out. */
const BLOCKS_AHEAD = 4;

/**
 * POST, one chunked PATCH, PUT. A GiB counts from when its first byte is written to when the next one's is; the last one until
 * the PATCH is answered.
 * @param {{ target: import('./http.mjs').Target, repository: string, gibibytes: number }} parameters
 */
export async function streamLayer({ target, repository, gibibytes }) {
  const blocks = gibibytes * 1024;
  const payloads = Array.from({ length: BLOCKS_AHEAD }, () => new Payload(MEBIBYTE));
  const blockOf = (number) => {
    const payload = payloads[number % BLOCKS_AHEAD];
    payload.stamp(BigInt(number + 1));
    return payload.wire;
  };
  const hash = createHash('sha256');
  for (let block = 0; block < blocks; block += 1) hash.update(blockOf(block));
  const digest = `sha256:${hash.digest('hex')}`;
  const [connection] = await openConnections(target, 1);
  return {
    async run() {
      const began = performance.now();
      const post = head(target, 'POST', `/v2/${repository}/blobs/uploads/`, { 'Content-Length': 0 });
      const begun = (await connection.send(post)).expect(202, 'POST');
      const patch = head(target, 'PATCH', locationOf(begun), {
        'Content-Type': 'application/octet-stream',
        'Transfer-Encoding': 'chunked',
      });
      const answer = connection.send(patch);
      const marks = [performance.now()];
      await writeBlocks(connection.socket, blocks, blockOf, (written) => {
        if (written % 1024 === 0 && written < blocks) marks.push(performance.now());
      });
      const patched = (await answer).expect(202, 'PATCH');
      marks.push(performance.now());
      const put = head(target, 'PUT', locationOf(patched, `digest=${encodeURIComponent(digest)}`), {
        'Content-Length': 0,
      });
      (await connection.send(put)).expect(201, 'PUT');
      const seconds = (performance.now() - began) / 1000;
      return { seconds, bytes: gibibytes * GIBIBYTE, digest, gibibyteSeconds: differences(marks) };
    },
    close: () => connection.close(),
  };
}

/** @param {(written: number) => void} onWritten called in order, once a block is with the kernel */
async function writeBlocks(socket, blocks, blockOf, onWritten) {
  const frame = `${MEBIBYTE.toString(16)}\r\n`;
  const pending = [];
  for (let block = 0; block < blocks; block += 1) {
    if (pending.length === BLOCKS_AHEAD) {
      await pending.shift();
      onWritten(block - BLOCKS_AHEAD + 1);
    }
    socket.cork();
    socket.write(frame, 'latin1');
    pending.push(written(socket, blockOf(block)));
    socket.write('\r\n', 'latin1');
    socket.uncork();
  }
  socket.write('0\r\n\r\n', 'latin1');
  for (const [index, one] of pending.entries()) {
    await one;
    onWritten(blocks - pending.length + index + 1);
  }
}

function written(socket, bytes) {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/**
 * InitiateLayerUpload, parts of 20 MiB one after another, CompleteLayerUpload. Making and signing the bodies is not in the time.
 */
export async function streamParts({ target, repository: repositoryName, gibibytes }) {
  const total = gibibytes * GIBIBYTE;
  const payload = new Payload(20 * MEBIBYTE);
  const [connection] = await openConnections(target, 1);
  const call = async (operation, input) => {
    const body = Buffer.from(JSON.stringify(input));
    const answer = await connection.send(await signedCall(target, operation, body), body);
    return JSON.parse(answer.expect(200, operation).body.toString());
  };
  return {
    async run() {
      const { uploadId } = await call('InitiateLayerUpload', { repositoryName });
      const hash = createHash('sha256');
      let seconds = 0;
      const marks = [0];
      for (let first = 0; first < total; first += payload.bytes) {
        payload.renew();
        const bytes = payload.wire.subarray(0, total - first);
        hash.update(bytes);
        const body = partBody({ repositoryName, uploadId, first }, bytes);
        const text = await signedCall(target, 'UploadLayerPart', body);
        const began = performance.now();
        (await connection.send(text, body)).expect(200, 'UploadLayerPart');
        const took = (performance.now() - began) / 1000;
        // A part over the edge of a GiB is divided by its bytes.
        const edge = marks.length * GIBIBYTE;
        if (first + bytes.length >= edge)
          marks.push(1000 * (seconds + (took * (edge - first)) / bytes.length));
        seconds += took;
      }
      const digest = `sha256:${hash.digest('hex')}`;
      const began = performance.now();
      await call('CompleteLayerUpload', { repositoryName, uploadId, layerDigests: [digest] });
      seconds += (performance.now() - began) / 1000;
      return { seconds, bytes: total, digest, gibibyteSeconds: differences(marks) };
    },
    close: () => connection.close(),
  };
}

/** Seconds between marks in milliseconds. */
function differences(marks) {
  return marks.slice(1).map((mark, index) => (mark - marks[index]) / 1000);
}

/** Many sessions with one part each, all at once. The parts are the same bytes, so that the client need not hold them all. */
export async function uploadPartsAtOnce({ target, repository: repositoryName, sessions, bytes }) {
  const connections = await openConnections(target, sessions);
  const uploads = [];
  const { wire } = new Payload(bytes);
  let shared;
  for (const connection of connections) {
    const initiate = Buffer.from(JSON.stringify({ repositoryName }));
    const answer = await connection.send(await signedCall(target, 'InitiateLayerUpload', initiate), initiate);
    const { uploadId } = JSON.parse(answer.expect(200, 'InitiateLayerUpload').body.toString());
    const body = partBody({ repositoryName, uploadId, first: 0 }, wire);
    const text = await signedCall(target, 'UploadLayerPart', body);
    const own = body.indexOf('"layerPartBlob"');
    shared ??= Buffer.from(body.subarray(own));
    uploads.push({ connection, text, own: Buffer.from(body.subarray(0, own)) });
  }
  return {
    async run() {
      const began = performance.now();
      await Promise.all(
        uploads.map(async ({ connection, text, own }) => {
          const answer = connection.send(text, own);
          connection.socket.write(shared);
          (await answer).expect(200, 'UploadLayerPart');
        }),
      );
      return { seconds: (performance.now() - began) / 1000, bytes: sessions * bytes };
    },
    close: () => connections.forEach((connection) => connection.close()),
  };
}
