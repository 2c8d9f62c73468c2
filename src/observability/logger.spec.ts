import { describe, expect, it } from '@jest/globals';
import { loggedUrl } from './logger.js';

describe('loggedUrl', () => {
  it('keeps what was asked for', () => {
    const url = '/v2/a/blobs/uploads/?digest=sha256:00&mount=sha256:01&from=b';
    expect(loggedUrl(url)).toBe(url);
  });

  it('hides the value of every other parameter', () => {
    expect(loggedUrl('/v2/a/blobs/x?expires=1&signature=abc&X-Amz-Signature=def')).toBe(
      '/v2/a/blobs/x?expires=[redacted]&signature=[redacted]&X-Amz-Signature=[redacted]',
    );
  });
});
