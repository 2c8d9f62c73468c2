import type { IncomingMessage } from 'node:http';
import { frontEndError } from './wire-error.js';

export interface SilenceGuard {
  /** Watches a request that has a body until the body is whole. */
  watch(request: IncomingMessage): void;
  /** Aborts with RequestTimeout when the client falls silent, or with MalformedRequest when it goes away. */
  signalOf(request: IncomingMessage): AbortSignal;
}

/** Bytes a second that a body must bring on average. A modem brings more; what is slower holds a connection for ever. */
const LEAST_RATE = 1024;

interface Watch {
  controller: AbortController;
  /** Whether somebody reads the body under the signal and will answer. */
  asked: boolean;
}

/**
 * Ends requests whose client stopped sending in the middle of the body, or all but stopped, which otherwise hold a connection
 * for ever: there is no limit for a whole request, since a layer may take hours. Silence is only the client's fault while
 * everything it sent has been read; a body that waits for us is left alone.
 * @param silence milliseconds, over which the client must keep up the least rate
 */
export function silenceGuard(silence: number): SilenceGuard {
  const watches = new WeakMap<IncomingMessage, Watch>();
  const watchOf = (request: IncomingMessage): Watch => {
    let watch = watches.get(request);
    if (!watch) watches.set(request, (watch = { controller: new AbortController(), asked: false }));
    return watch;
  };
  return {
    watch(request) {
      const watch = watchOf(request);
      const least = (LEAST_RATE * silence) / 1000;
      let received = request.socket.bytesRead;
      let heardAt = performance.now();
      const timer = setInterval(() => {
        if (request.complete) return clearInterval(timer);
        if (request.socket.bytesRead - received >= least || request.readableLength > 0) {
          received = request.socket.bytesRead;
          heardAt = performance.now();
        } else if (performance.now() - heardAt >= silence) {
          clearInterval(timer);
          const timeout = frontEndError('RequestTimeout');
          watch.controller.abort(timeout);
          // A stream in other hands can only be ended, together with its socket; the reader sees why.
          if (!watch.asked) request.destroy(timeout);
        }
      }, silence / 4);
      timer.unref();
      request.once('close', () => {
        clearInterval(timer);
        if (!request.complete) watch.controller.abort(frontEndError('MalformedRequest'));
      });
    },
    signalOf(request) {
      const watch = watchOf(request);
      watch.asked = true;
      return watch.controller.signal;
    },
  };
}
