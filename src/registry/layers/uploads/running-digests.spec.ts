import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { RunningDigest, RunningDigests } from './running-digests.js';

const hash = (algorithm: string, text: string): string => createHash(algorithm).update(text).digest('hex');
const fed = (text: string, withSha512 = false): RunningDigest => {
  const feed = RunningDigest.start(withSha512).fork();
  feed.update(Buffer.from(text));
  return feed.frozen();
};

describe('a running digest', () => {
  it('is that of all bytes so far, over any number of requests', () => {
    const feed = fed('one ', true).fork();
    feed.update(Buffer.from('two '));
    feed.update(Buffer.from('three'));
    expect(feed.digests()).toEqual({
      sha256: hash('sha256', 'one two three'),
      sha512: hash('sha512', 'one two three'),
    });
    feed.update(Buffer.from('!'));
    expect(feed.digests().sha256).toBe(hash('sha256', 'one two three!'));
    expect(feed.frozen().offset).toBe(14);
  });

  it('stays what it was when a request that continued it fails', () => {
    const state = fed('kept');
    state.fork().update(Buffer.from(' and lost'));
    expect(state.offset).toBe(4);
    expect(state.fork().digests()).toEqual({ sha256: hash('sha256', 'kept'), sha512: null });
  });
});

describe('the running digests of a process', () => {
  it('are found at exactly the offset they were kept at', () => {
    const digests = new RunningDigests();
    const state = fed('some');
    digests.keep('upload', state);
    expect(digests.at('upload', 4, false)).toBe(state);
    for (const offset of [3, 5]) expect(digests.at('upload', offset, false)).toBeNull();
    expect(digests.at('other', 4, false)).toBeNull();
    digests.forget('upload');
    expect(digests.at('upload', 4, false)).toBeNull();
  });

  it('begin anew for an upload without bytes, with a SHA-512 where one is wanted', () => {
    const digests = new RunningDigests();
    expect(digests.at('upload', 0, false)!.fork().digests()).toEqual({
      sha256: hash('sha256', ''),
      sha512: null,
    });
    expect(digests.at('upload', 0, true)!.fork().digests().sha512).toBe(hash('sha512', ''));
  });

  it('are kept for the uploads that moved last', () => {
    const digests = new RunningDigests(2);
    for (const upload of ['a', 'b', 'a', 'c']) digests.keep(upload, fed('x'));
    expect(['a', 'b', 'c'].map((upload) => digests.at(upload, 1, false) !== null)).toEqual([
      true,
      false,
      true,
    ]);
  });
});
