import { once } from 'node:events';
import {
  Agent,
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request as send,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type S3Operation, s3Operation } from './s3-operations.js';

/** The store's answer, as a fault may change it. */
export interface S3Answer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** What happens to a request instead of being passed on and answered. */
export type S3Fault =
  /** The request goes nowhere; the answer is made up, once the whole request has come. */
  | { answer: Partial<S3Answer> }
  /** The answer is made up and sent before the body is read, of which nothing is read then either. */
  | { early: Partial<S3Answer> }
  /** The connection is reset: before a byte of the body is read, when the store has half of it, or when the store has done it all. */
  | { reset: 'before' | 'amid' | 'after' }
  /** Passed on after so many milliseconds. */
  | { delayMs: number }
  /** Neither passed on nor answered until {@link S3Proxy.release} or {@link S3Proxy.heal}. */
  | { hold: true }
  /** The store does it, and the reply stays away until whoever asked hangs up. */
  | { late: true }
  /** Only the first bytes of the answer's body come, then the connection is reset. */
  | { truncateAt: number }
  /** Only the first bytes of the answer's body come, then silence until whoever asked hangs up. */
  | { stallAt: number }
  /** A Content-Length is added that fits the body, unless there is one. */
  | { change: (answer: S3Answer) => Partial<S3Answer> };

export interface WhichRequests {
  /** The how many-th of these requests from now on, counted from 1; absent: the first. */
  nth?: number;
  /** How many in a row from there; absent: one. */
  times?: number;
  /** In place of both: each with this probability, by the proxy's own seeded dice. */
  probability?: number;
}

interface Rule extends WhichRequests {
  operations: readonly S3Operation[] | null;
  fault: S3Fault;
  seen: number;
}

/** An S3 server reached through here misbehaves as the rules say. */
export interface S3Proxy {
  readonly url: string;
  /** Adds a rule; the first one that applies to a request is followed. `'*'`: whatever the request is. */
  on(operations: S3Operation | readonly S3Operation[] | '*', fault: S3Fault, which?: WhichRequests): void;
  /** Forgets all rules and lets go of what is held. */
  heal(): void;
  /** Passes on what is held. */
  release(): void;
  /** Requests that came since {@link forget}, whatever became of them. */
  readonly requests: readonly S3Operation[];
  /** How many of them were met by a rule. */
  readonly faults: number;
  /** Requests held now. */
  readonly held: number;
  forget(): void;
  close(): Promise<void>;
}

export async function startS3Proxy(target: string, seed = 1): Promise<S3Proxy> {
  const agent = new Agent({ keepAlive: true });
  const dice = seededDice(seed);
  let rules: Rule[] = [];
  let requests: S3Operation[] = [];
  let faults = 0;
  const held = new Set<() => void>();

  const faultFor = (operation: S3Operation): S3Fault | undefined => {
    let found: S3Fault | undefined;
    for (const rule of rules) {
      if (rule.operations && !rule.operations.includes(operation)) continue;
      rule.seen += 1;
      const { nth = 1, times = 1, probability } = rule;
      const applies =
        probability === undefined ? rule.seen >= nth && rule.seen < nth + times : dice() < probability;
      if (applies) found ??= rule.fault;
    }
    return found;
  };
  const holding = (outgoing: ServerResponse): Promise<void> =>
    new Promise((resolve) => {
      const go = (): void => {
        held.delete(go);
        resolve();
      };
      held.add(go);
      outgoing.once('close', go);
    });
  const release = (): void => {
    for (const go of held) go();
  };

  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    incoming.on('error', () => undefined);
    outgoing.on('error', () => undefined);
    const operation = s3Operation(incoming.method ?? '', incoming.url ?? '');
    requests.push(operation);
    const fault = faultFor(operation);
    if (fault) faults += 1;
    if (!fault) return pass(incoming, outgoing, (answer) => void answer.pipe(outgoing));
    if ('answer' in fault) {
      for await (const _ of incoming);
      return reply(outgoing, { status: 500, headers: {}, body: Buffer.alloc(0), ...fault.answer });
    }
    if ('early' in fault)
      return reply(outgoing, { status: 200, headers: {}, body: Buffer.alloc(0), ...fault.early });
    if ('delayMs' in fault || 'hold' in fault) {
      await ('hold' in fault ? holding(outgoing) : sleep(fault.delayMs));
      if (outgoing.destroyed) return;
      return pass(incoming, outgoing, (answer) => void answer.pipe(outgoing));
    }
    if ('reset' in fault && fault.reset !== 'after') {
      if (fault.reset === 'amid') await half(incoming, outgoing);
      incoming.socket.resetAndDestroy();
      return;
    }
    return pass(incoming, outgoing, (answer) => spoil(fault, answer, outgoing), 'change' in fault);
  };

  const half = (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> =>
    new Promise((resolve) => {
      const wanted = Number(incoming.headers['content-length'] ?? 0) / 2;
      const onward = forward(incoming, outgoing, () => undefined);
      let passed = 0;
      incoming.on('data', (chunk: Buffer) => {
        onward.write(chunk);
        passed += chunk.length;
        if (passed >= wanted) finish();
      });
      const finish = (): void => {
        onward.destroy();
        resolve();
      };
      incoming.once('end', finish);
    });
  const forward = (
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    answered: (answer: IncomingMessage) => void,
  ): ClientRequest => {
    const { hostname, port } = new URL(target);
    const { method, url, headers } = incoming;
    const onward = send({ agent, hostname, port, method, path: url, headers }, answered);
    onward.on('error', () => incoming.socket.destroy());
    // Once it is through, its connection may be another one's.
    outgoing.once('close', () => onward.closed || onward.destroy());
    return onward;
  };
  const pass = (
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    answered: (answer: IncomingMessage) => void,
    headersLater = false,
  ): void => {
    const onward = forward(incoming, outgoing, (answer) => {
      if (!headersLater) outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answered(answer);
    });
    incoming.pipe(onward);
  };

  const server = createServer((incoming, outgoing) => void serve(incoming, outgoing).catch(() => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    on(operations, fault, which = {}) {
      const wanted = operations === '*' ? null : [operations].flat();
      rules.push({ operations: wanted, fault, ...which, seen: 0 });
    },
    heal() {
      rules = [];
      release();
    },
    release,
    get requests() {
      return requests;
    },
    get faults() {
      return faults;
    },
    get held() {
      return held.size;
    },
    forget() {
      requests = [];
      faults = 0;
    },
    close: () => end(server, agent),
  };
}

/** The store has done it; what comes back is another matter. Its status and headers are on their way already, but for `change`. */
function spoil(fault: S3Fault, answer: IncomingMessage, outgoing: ServerResponse): void {
  const { socket } = outgoing;
  if ('reset' in fault) {
    answer.resume();
    // The headers are only handed over, not sent.
    socket?.resetAndDestroy();
  } else if ('late' in fault) {
    answer.resume();
  } else if ('truncateAt' in fault || 'stallAt' in fault) {
    const limit = 'truncateAt' in fault ? fault.truncateAt : fault.stallAt;
    let passed = 0;
    const cut = (): void => {
      if ('truncateAt' in fault) socket?.resetAndDestroy();
    };
    answer.on('data', (chunk: Buffer) => {
      if (passed >= limit) return;
      const wanted = chunk.subarray(0, limit - passed);
      passed += wanted.length;
      outgoing.write(wanted, () => passed >= limit && cut());
    });
    answer.once('end', () => passed < limit && cut());
  } else if ('change' in fault) {
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.on('end', () => {
      const { 'content-length': _, ...rest } = answer.headers;
      const headers = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, String(value)]));
      const whole = { status: answer.statusCode ?? 502, headers, body: Buffer.concat(chunks) };
      reply(outgoing, { ...whole, ...fault.change(whole) });
    });
  }
}

function reply(outgoing: ServerResponse, { status, headers, body }: S3Answer): void {
  const { 'content-length': announced, 'transfer-encoding': _, ...others } = headers;
  outgoing.writeHead(status, { ...others, 'content-length': announced ?? body.length });
  outgoing.end(outgoing.req.method === 'HEAD' ? undefined : body);
}

async function end(server: Server, agent: Agent): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  agent.destroy();
  await closed;
}

/** The same throws for the same seed (mulberry32). */
function seededDice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
