import type { S3Answer, S3Fault } from './s3-proxy.js';

export type S3Operation =
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListParts'
  | 'ListMultipartUploads'
  | 'ListObjectsV2'
  | 'PutObject'
  | 'GetObject'
  | 'HeadObject'
  | 'DeleteObjects'
  | 'HeadBucket'
  | 'CreateBucket'
  | 'Other';

/** What a request asks of a path-style S3 server. */
export function s3Operation(method: string, url: string): S3Operation {
  const { pathname, searchParams: query } = new URL(url, 'http://store');
  const ofKey = /^\/[^/]+\/./.test(pathname);
  const inBucket: Record<string, S3Operation> = {
    'GET uploads': 'ListMultipartUploads',
    'GET list-type': 'ListObjectsV2',
    'POST delete': 'DeleteObjects',
    HEAD: 'HeadBucket',
    PUT: 'CreateBucket',
  };
  const atKey: Record<string, S3Operation> = {
    'POST uploads': 'CreateMultipartUpload',
    'PUT uploadId': 'UploadPart',
    'POST uploadId': 'CompleteMultipartUpload',
    'DELETE uploadId': 'AbortMultipartUpload',
    'GET uploadId': 'ListParts',
    PUT: 'PutObject',
    GET: 'GetObject',
    HEAD: 'HeadObject',
  };
  const names = ofKey ? atKey : inBucket;
  const parameter = ['uploads', 'uploadId', 'list-type', 'delete'].find((name) => query.has(name));
  return names[parameter ? `${method} ${parameter}` : method] ?? 'Other';
}

/** An error as S3 writes it. */
export function s3Error(
  status: number,
  code: string,
  headers: Record<string, string> = {},
): Partial<S3Answer> {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>As the test wants it.</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml', ...headers }, body: Buffer.from(xml) };
}

export const INTERNAL_ERROR: S3Fault = { answer: s3Error(500, 'InternalError') };
export const SLOW_DOWN: S3Fault = { answer: s3Error(503, 'SlowDown') };
/** An answer to something else, as a portal or a proxy on the way gives it. */
export const WEB_PAGE: Partial<S3Answer> = {
  status: 200,
  headers: { 'content-type': 'text/html' },
  body: Buffer.from('<html><head><title>Welcome</title></head><body>Please sign in.</body></html>'),
};
export const GARBAGE: Partial<S3Answer> = {
  status: 200,
  headers: { 'content-type': 'application/xml' },
  body: Buffer.from('<?xml version="1.0"?><<Complete&Multi;part'),
};
