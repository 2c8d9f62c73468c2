import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { SignatureV4 } from '@smithy/signature-v4';
import { HttpRequest } from '@smithy/core/protocols';
import type { RegistryClient } from '../support/registry-client.js';
import { Sha256 } from '../support/sha256.js';

/** One connection that speaks HTTP as badly as its test wants. */
export interface Attacker {
  socket: Socket;
  /** What the service said, from the beginning; at most 64 KiB of it. */
  readonly answer: string;
  /** Whether the connection has ended, from either side. */
  readonly ended: boolean;
  /** Resolves once it has. */
  over: Promise<void>;
  /** Writes unless the connection has ended. @returns once the bytes are on their way */
  send(bytes: string | Buffer): Promise<void>;
}

const MOST_ANSWER = 64 * 1024;

/** A connection that is open, or was refused or cut at once: attackers do not mind either. */
export async function attack(url: string, bytes: string | Buffer = ''): Promise<Attacker> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    if (answer.length < MOST_ANSWER) answer += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  const over = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const send = async (more: string | Buffer): Promise<void> => {
    if (socket.destroyed || !socket.writable) return;
    if (!socket.write(more)) await Promise.race([once(socket, 'drain').catch(() => undefined), over]);
  };
  await Promise.race([once(socket, 'connect').catch(() => undefined), over]);
  await send(bytes);
  return {
    socket,
    get answer() {
      return answer;
    },
    get ended() {
      return socket.destroyed || socket.readableEnded;
    },
    over,
    send,
  };
}

/** So many at once as a backlog of connections bears. */
export async function attackMany(
  count: number,
  one: (n: number) => Promise<Attacker>,
  atOnce = 200,
): Promise<Attacker[]> {
  const attackers: Attacker[] = [];
  for (let n = 0; n < count; n += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, count - n) }, (_, index) => one(n + index));
    attackers.push(...(await Promise.all(batch)));
  }
  return attackers;
}

export function leave(attackers: Attacker[]): void {
  for (const { socket } of attackers) socket.destroy();
}

/** Sends a piece on every connection again and again. @returns how to stop it */
export function dribble(attackers: Attacker[], piece: string | Buffer, everyMs: number): () => void {
  const timer = setInterval(() => {
    for (const { socket } of attackers) if (socket.writable && !socket.writableNeedDrain) socket.write(piece);
  }, everyMs);
  return () => clearInterval(timer);
}

/** Head of a request, without the empty line when `open`. */
export function head(
  method: string,
  path: string,
  headers: Record<string, string | number>,
  { open = false } = {},
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}${open ? '' : '\r\n'}`;
}

export type Framing = { 'content-length': number } | { 'transfer-encoding': 'chunked' };

export const CHUNKED: Framing = { 'transfer-encoding': 'chunked' };

/** A request of the OCI door with the registry's token. */
export function ociHead(
  registry: RegistryClient,
  method: string,
  path: string,
  headers: Record<string, string | number> = {},
): string {
  return head(method, path, {
    host: new URL(registry.url).host,
    authorization: `Basic ${registry.token}`,
    ...headers,
  });
}

/** A request of the ECR door that is signed, though for another body: nobody can tell before the body is whole. */
export async function ecrHead(
  registry: RegistryClient,
  operation: string,
  framing: Framing,
): Promise<string> {
  const { hostname, host } = new URL(registry.url);
  const signer = new SignatureV4({
    service: 'ecr',
    region: 'us-east-1',
    credentials: registry.credentials,
    sha256: Sha256,
    applyChecksum: false,
  });
  const request = new HttpRequest({
    method: 'POST',
    path: '/',
    hostname,
    protocol: 'http:',
    headers: { host, 'x-amz-target': `AmazonEC2ContainerRegistry_V20150921.${operation}` },
    body: '{}',
  });
  const { headers } = await signer.sign(request);
  return head('POST', '/', { ...headers, ...framing });
}
