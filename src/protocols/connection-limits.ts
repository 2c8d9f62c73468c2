import { readFileSync } from 'node:fs';
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** Requests one connection may have under way. Clients of registries send the next one after the answer. */
const MOST_PIPELINED = 8;
/** Milliseconds after which a client that takes nothing of an answer is taken for lost. */
const ANSWER_SILENCE = 60_000;
/** Answers this small fit into the buffers of every connection. Bytes. */
const SMALL_ANSWER_BYTES = 16 * 1024;

/**
 * Bounds what connections cost. Where as many are open as may be, a new one takes the place of the one that was longest
 * without a request, so that idle connections never keep anybody out; only when all of them are at work it is closed.
 *
 * A connection that has too many requests under way is cut, and so is one whose client stops taking its answer. Call it
 * before any other hook is registered.
 * @param most connections; fewer when the process may not open twice as many files
 */
export function limitConnections(instance: FastifyInstance, most: number): void {
  const server: Server = instance.server;
  const limit = Math.min(most, Math.floor(openFiles() / 2));
  /** The longest without a request first. */
  const idle = new Set<Socket>();
  const open = new Set<Socket>();
  const underWay = new WeakMap<Socket, number>();
  const forget = (socket: Socket): void => void (open.delete(socket), idle.delete(socket));

  server.on('connection', (socket: Socket) => {
    open.add(socket);
    idle.add(socket);
    socket.once('close', () => forget(socket));
    for (const longest of idle) {
      if (open.size <= limit) break;
      forget(longest);
      longest.destroy();
    }
  });

  instance.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw;
    // Requests that came in one packet with the one the connection was cut for: nobody is there to answer.
    if (socket.destroyed) return;
    const count = (underWay.get(socket) ?? 0) + 1;
    if (count > MOST_PIPELINED) return void socket.destroy();
    underWay.set(socket, count);
    idle.delete(socket);
    reply.raw.once('close', () => {
      const left = underWay.get(socket)! - 1;
      underWay.set(socket, left);
      if (left === 0 && open.has(socket)) idle.add(socket);
    });
    done();
  });

  instance.addHook('onSend', (_request, reply, payload, done) => {
    if (!Buffer.isBuffer(payload) || payload.length > SMALL_ANSWER_BYTES) endUnlessTaken(reply.raw);
    done(null, payload);
  });
}

/** For answers that are written past the hooks too: cuts the connection of a client that takes nothing of it for a minute. */
export function endUnlessTaken(response: ServerResponse): void {
  // Without a listener a connection that times out is destroyed; the next request on it sets another time.
  response.setTimeout(ANSWER_SILENCE);
}

/** How many files the system lets this process open. */
function openFiles(): number {
  try {
    return Number(
      /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity,
    );
  } catch {
    return Infinity; // no Linux
  }
}
