import { createHash, createHmac } from 'node:crypto';
import { HttpRequest } from '@smithy/core/protocols';
import { SignatureV4 } from '@smithy/signature-v4';

/** What the signer of the AWS SDK wants of a hash. */
class Sha256 {
  #hash;
  constructor(secret) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret);
  }
  update(data) {
    this.#hash.update(data);
  }
  async digest() {
    return this.#hash.digest();
  }
  reset() {}
}

const REGION = 'us-east-1';
const signer = (service, credentials) =>
  new SignatureV4({
    service,
    region: REGION,
    credentials,
    sha256: Sha256,
    applyChecksum: false,
    uriEscapePath: service !== 's3',
  });

/** @returns {Promise<string>} path and query of a presigned request whose body is not part of the signature */
export async function presigned(target, method, path, query = {}) {
  const request = new HttpRequest({
    method,
    path,
    query,
    headers: { host: `${target.host}:${target.port}`, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
    hostname: target.host,
    port: target.port,
    protocol: 'http:',
  });
  const signed = await signer('s3', target.credentials).presign(request, {
    expiresIn: 3600,
    unsignableHeaders: new Set(['x-amz-content-sha256']),
    unhoistableHeaders: new Set(['x-amz-content-sha256']),
  });
  const parameters = Object.entries(signed.query).map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value ?? '')}`,
  );
  return `${path}?${parameters.join('&')}`;
}

/** @returns {Promise<string>} head of a signed call of the ECR API, whose signature covers the body */
export async function signedCall(target, operation, body) {
  const request = new HttpRequest({
    method: 'POST',
    path: '/',
    headers: {
      host: `${target.host}:${target.port}`,
      'content-type': 'application/x-amz-json-1.1',
      'content-length': String(body.length),
      'x-amz-target': `AmazonEC2ContainerRegistry_V20150921.${operation}`,
    },
    body,
    hostname: target.host,
    port: target.port,
    protocol: 'http:',
  });
  const { headers } = await signer('ecr', target.credentials).sign(request);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `POST / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}
