/** Parts of 20 MiB: UploadLayerPart with signed JSON, or UploadPart of S3. Bodies and signatures are made before the clock starts. */
import { createHash } from 'node:crypto';
import { head, openConnections } from './http.mjs';
import { Payload } from './payload.mjs';
import { presigned, signedCall } from './sign.mjs';

/**
 * Initiate and Complete are not part of the time.
 * @param {{ target: import('./http.mjs').Target, repository: string, sessions: number, parts: number, bytes: number }} parameters
 */
export async function uploadLayerParts({ target, repository: repositoryName, sessions, parts, bytes }) {
  const connections = await openConnections(target, sessions);
  const call = async (connection, operation, input, what = JSON.stringify(input)) => {
    const answer = await connection.send(
      await signedCall(target, operation, Buffer.from(what)),
      Buffer.from(what),
    );
    return JSON.parse(answer.expect(200, operation).body.toString());
  };
  const payload = new Payload(bytes);
  const uploads = [];
  for (const connection of connections) {
    const { uploadId } = await call(connection, 'InitiateLayerUpload', { repositoryName });
    const hash = createHash('sha256');
    const requests = [];
    for (let part = 0; part < parts; part += 1) {
      payload.renew();
      hash.update(payload.wire);
      const body = partBody({ repositoryName, uploadId, first: part * bytes }, payload.wire);
      requests.push({ head: await signedCall(target, 'UploadLayerPart', body), body });
    }
    uploads.push({ connection, uploadId, requests, digest: `sha256:${hash.digest('hex')}` });
  }
  return {
    async run() {
      const began = performance.now();
      await Promise.all(
        uploads.map(async ({ connection, requests }) => {
          for (const { head, body } of requests)
            (await connection.send(head, body)).expect(200, 'UploadLayerPart');
        }),
      );
      return { seconds: (performance.now() - began) / 1000, bytes: sessions * parts * bytes };
    },
    async finish() {
      for (const { connection, uploadId, digest } of uploads)
        await call(connection, 'CompleteLayerUpload', { repositoryName, uploadId, layerDigests: [digest] });
    },
    close: () => connections.forEach((connection) => connection.close()),
  };
}

export function partBody({ repositoryName, uploadId, first }, bytes) {
  const names = JSON.stringify({
    repositoryName,
    uploadId,
    partFirstByte: first,
    partLastByte: first + bytes.length - 1,
  });
  return Buffer.from(`${names.slice(0, -1)},"layerPartBlob":"${bytes.toString('base64')}"}`, 'latin1');
}

/** UploadPart with an unsigned payload, to multipart uploads that are begun beforehand and aborted afterwards. */
export async function uploadParts({ target, bucket, sessions, parts, bytes }) {
  const connections = await openConnections(target, sessions);
  const payload = new Payload(bytes);
  const uploads = await Promise.all(
    connections.map(async (connection, session) => {
      const path = `/${bucket}/parts/${process.pid}-${Date.now()}-${session}`;
      const post = await presigned(target, 'POST', path, { uploads: '' });
      const begun = (await connection.send(head(target, 'POST', post, { 'Content-Length': 0 }))).expect(
        200,
        'CreateMultipartUpload',
      );
      const uploadId = /<UploadId>([^<]+)/.exec(begun.body.toString())[1];
      const paths = [];
      for (let part = 1; part <= parts; part += 1)
        paths.push(await presigned(target, 'PUT', path, { partNumber: String(part), uploadId }));
      return { connection, paths, abort: await presigned(target, 'DELETE', path, { uploadId }) };
    }),
  );
  return {
    async run() {
      const began = performance.now();
      await Promise.all(
        uploads.map(async ({ connection, paths }) => {
          for (const path of paths) {
            const request = head(target, 'PUT', path, { 'Content-Length': bytes });
            (await connection.send(request, payload.wire)).expect(200, 'UploadPart');
          }
        }),
      );
      return { seconds: (performance.now() - began) / 1000, bytes: sessions * parts * bytes };
    },
    async finish() {
      for (const { connection, abort } of uploads)
        (await connection.send(head(target, 'DELETE', abort))).expect(204, 'AbortMultipartUpload');
    },
    close: () => connections.forEach((connection) => connection.close()),
  };
}
