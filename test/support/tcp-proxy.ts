import { once } from 'node:events';
import {
  type AddressInfo,
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net';
import { join } from 'node:path';

/** A dependency reached through here can be taken away and given back. */
export interface TcpProxy {
  readonly port: number;
  /** Ends all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Accepts connections again, at the same port. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

export async function startTcpProxy(target: NetConnectOpts): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const switched = await switchable(sockets, (inbound) => {
    const outbound = connect(target);
    for (const [socket, other] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => (sockets.delete(socket), other.destroy()));
      socket.pipe(other);
    }
  });
  return { ...switched, close: switched.cut };
}

/** A server on a port of its own that can stop listening, with all connections, and begin again. */
export async function switchable(
  sockets: ReadonlySet<Socket>,
  serve: (inbound: Socket) => void,
): Promise<Omit<TcpProxy, 'close'>> {
  const listen = async (port: number): Promise<Server> => {
    const server = createServer(serve);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  let server: Server | undefined = await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async cut() {
      const closing = server;
      server = undefined;
      if (!closing) return;
      const closed = once(closing, 'close');
      closing.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    async restore() {
      server ??= await listen(port);
    },
  };
}

/** The same URL, reached through a proxy. PostgreSQL may also be named by the folder of its socket. */
export async function proxied(url: string): Promise<{ url: string; proxy: TcpProxy }> {
  const through = new URL(url);
  const folder = through.searchParams.get('host');
  through.searchParams.delete('host');
  const proxy = await startTcpProxy(
    folder === null
      ? { host: through.hostname, port: Number(through.port) }
      : { path: join(folder, '.s.PGSQL.5432') },
  );
  through.host = `127.0.0.1:${proxy.port}`;
  return { url: through.toString().replace(/\/$/, ''), proxy };
}
