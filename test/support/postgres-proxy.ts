import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { switchable } from './tcp-proxy.js';

/** What happens to a statement instead of being run and answered. */
export type StatementFault =
  /** The server never hears of it: the connection is cut. */
  | 'lost request'
  /** The server ran it, and committed it unless a transaction is open; then the connection is cut in place of the answer. */
  | 'lost reply'
  /** The server ran it, and the answer never comes. The connection stays. */
  | 'no reply';

/** A PostgreSQL server reached through here can be taken away and given back, as a whole or for single statements. */
export interface PostgresProxy {
  readonly url: string;
  /** The next statement whose text matches meets the fault; later ones do not, unless it is said how many. */
  on(text: RegExp, fault: StatementFault, which?: WhichStatements): void;
  /** Faults that came about so far. */
  readonly faults: number;
  /** Ends all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Takes connections and whatever comes over them, and answers nothing. */
  swallow(): void;
  /** Serves new connections again. Those that were swallowed stay silent for ever. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

export interface WhichStatements {
  times?: number;
  /** Only once a statement whose text matches this one has been seen, on any connection. */
  after?: RegExp;
}

interface Rule {
  text: RegExp;
  fault: StatementFault;
  times: number;
  after: RegExp | undefined;
}

/** @param url may name the server by the folder of its socket */
export async function startPostgresProxy(url: string): Promise<PostgresProxy> {
  const through = new URL(url);
  const folder = through.searchParams.get('host');
  through.searchParams.delete('host');
  const target: NetConnectOpts =
    folder === null
      ? { host: through.hostname, port: Number(through.port) }
      : { path: join(folder, '.s.PGSQL.5432') };
  const sockets = new Set<Socket>();
  let rules: Rule[] = [];
  let faults = 0;
  let swallowing = false;

  const faultOf = (statement: string): StatementFault | undefined => {
    for (const rule of rules) if (rule.after?.test(statement)) rule.after = undefined;
    const rule = rules.find(({ text, times, after }) => !after && times > 0 && text.test(statement));
    if (!rule) return undefined;
    rule.times -= 1;
    faults += 1;
    return rule.fault;
  };
  const serve = (inbound: Socket): void => {
    sockets.add(inbound);
    inbound.on('error', () => undefined);
    inbound.once('close', () => sockets.delete(inbound));
    if (swallowing) {
      inbound.resume();
      return;
    }
    const outbound = connect(target);
    sockets.add(outbound);
    outbound.on('error', () => inbound.destroy());
    outbound.once('close', () => (sockets.delete(outbound), inbound.destroy()));
    inbound.once('close', () => outbound.destroy());
    let silent = false;
    let losing = false;
    const statements = new Statements();
    const asked = messages(false, (message) => {
      const statement = statements.begunBy(message);
      const fault = statement === undefined ? undefined : faultOf(statement);
      if (inbound.destroyed) return;
      if (fault === 'lost request') return void inbound.destroy();
      if (fault) silent = true;
      if (fault === 'lost reply') losing = true;
      outbound.write(message);
    });
    const answered = messages(true, (message) => {
      if (!silent) inbound.write(message);
      else if (losing && message[0] === READY_FOR_QUERY) inbound.destroy();
    });
    inbound.on('data', (chunk) => swallowing || silenced.has(inbound) || asked(chunk));
    outbound.on('data', (chunk) => swallowing || silenced.has(inbound) || answered(chunk));
  };
  const silenced = new WeakSet<Socket>();
  const { port, cut, restore } = await switchable(sockets, serve);
  through.host = `127.0.0.1:${port}`;
  return {
    url: through.toString(),
    on(text, fault, { times = 1, after } = {}) {
      rules.push({ text, fault, times, after });
    },
    get faults() {
      return faults;
    },
    cut,
    swallow() {
      swallowing = true;
      for (const socket of sockets) silenced.add(socket);
    },
    async restore() {
      rules = [];
      swallowing = false;
      await restore();
    },
    close: cut,
  };
}

const READY_FOR_QUERY = 'Z'.charCodeAt(0);

/** Statements of one connection, which are named once and then only called by their names. */
class Statements {
  private readonly texts = new Map<string, string>();

  /** @returns the text of the statement that this message has run */
  begunBy(message: Buffer): string | undefined {
    const type = String.fromCharCode(message[0]!);
    const [first = '', second = ''] = message.toString('utf8', 5).split('\0', 2);
    if (type === 'P') this.texts.set(first, second);
    if (type === 'Q') return first;
    return type === 'B' ? this.texts.get(second) : undefined;
  }
}

/** Cuts what comes into messages of the protocol. The first one of a client has no type before its length. */
function messages(typedFromStart: boolean, take: (message: Buffer) => void): (chunk: Buffer) => void {
  let pending = Buffer.alloc(0);
  let typed = typedFromStart;
  return (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      const head = typed ? 1 : 0;
      if (pending.length < head + 4) return;
      const length = head + pending.readUInt32BE(head);
      if (pending.length < length) return;
      const message = pending.subarray(0, length);
      pending = pending.subarray(length);
      typed = true;
      take(message);
    }
  };
}
