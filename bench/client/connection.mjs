import { connect } from 'node:net';

const RECEIVE_BYTES = 1024 * 1024;
const HEAD_END = Buffer.from('\r\n\r\n');
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;
const CHUNKED = /\r\ntransfer-encoding: *chunked/i;
/** Bodies longer than this are counted, not kept. */
const KEPT_BYTES = 4 * 1024 * 1024;

/**
 * One keep-alive connection that speaks just enough HTTP/1.1 to load a server without being the limit itself: one request at a
 * time, bytes received into one buffer that is used over and over, bodies counted where they lie.
 */
export class Connection {
  #socket;
  #waiting;
  #isHead = false;
  #onBody;
  /** What came of a head that is not complete yet. */
  #pending;
  #response;
  #remaining = 0;
  #chunked = false;
  #broken;

  /** @param {{ host: string, port: number }} address */
  static async open({ host, port }) {
    const connection = new Connection();
    await new Promise((resolve, reject) => {
      connection.#socket = connect({
        host,
        port,
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafe(RECEIVE_BYTES),
          callback: (length, buffer) => {
            connection.#receive(buffer, length);
            return true;
          },
        },
      });
      connection.#socket.once('connect', resolve);
      connection.#socket.on('error', (error) => {
        reject(error);
        connection.#break(error);
      });
      connection.#socket.on('close', () => connection.#break(new Error('The server closed the connection')));
    });
    return connection;
  }

  /** @returns {import('node:net').Socket} for bodies that are written piece by piece while the answer is waited for */
  get socket() {
    return this.#socket;
  }

  /**
   * @param {string} head everything up to and including the empty line
   * @param {Buffer} [body] written as it is, framing included
   * @param {{ isHead?: boolean, onBody?: (bytes: Buffer) => void }} [options] `onBody` sees the bytes where they lie; they are
   *   overwritten by the next ones
   * @returns {Promise<Response>}
   */
  send(head, body, { isHead = false, onBody } = {}) {
    if (this.#broken) return Promise.reject(this.#broken);
    this.#isHead = isHead;
    this.#onBody = onBody;
    const answer = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    if (body) {
      this.#socket.cork();
      this.#socket.write(head, 'latin1');
      this.#socket.write(body);
      this.#socket.uncork();
    } else {
      this.#socket.write(head, 'latin1');
    }
    return answer;
  }

  close() {
    this.#broken ??= new Error('Closed');
    this.#socket.destroy();
  }

  #receive(buffer, length) {
    let bytes = buffer.subarray(0, length);
    if (!this.#response) {
      if (this.#pending) bytes = Buffer.concat([this.#pending, bytes]);
      const end = bytes.indexOf(HEAD_END);
      if (end < 0) {
        this.#pending = Buffer.from(bytes);
        return;
      }
      this.#pending = undefined;
      this.#begin(bytes.latin1Slice(0, end));
      bytes = bytes.subarray(end + HEAD_END.length);
    }
    if (this.#chunked) this.#takeChunked(bytes);
    else this.#take(bytes);
  }

  #begin(head) {
    const status = Number(head.slice(9, 12));
    this.#response = new Response(status, head);
    this.#chunked = false;
    this.#remaining = 0;
    if (this.#isHead || status === 204 || status === 304) return;
    const length = CONTENT_LENGTH.exec(head);
    if (length) this.#remaining = Number(length[1]);
    else this.#chunked = CHUNKED.test(head);
  }

  #take(bytes) {
    if (bytes.length > 0) {
      this.#response.length += bytes.length;
      this.#remaining -= bytes.length;
      if (this.#onBody) this.#onBody(bytes);
      else if (this.#response.length + this.#remaining <= KEPT_BYTES) this.#response.keep(bytes);
    }
    if (this.#remaining === 0) this.#finish();
    else if (this.#remaining < 0) this.#break(new Error('The server sent more than it announced'));
  }

  /** Only small answers come so; their framing is taken apart at the end. */
  #takeChunked(bytes) {
    this.#response.keep(bytes);
    if (!this.#response.body.subarray(-7).toString('latin1').endsWith('0\r\n\r\n')) return;
    this.#response.unframe();
    this.#finish();
  }

  #finish() {
    const { resolve } = this.#waiting;
    const response = this.#response;
    this.#waiting = undefined;
    this.#response = undefined;
    resolve(response);
  }

  #break(error) {
    this.#broken ??= error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#broken);
    this.#socket.destroy();
  }
}

export class Response {
  length = 0;
  #kept = [];

  constructor(status, head) {
    this.status = status;
    this.head = head;
  }

  keep(bytes) {
    this.#kept.push(Buffer.from(bytes));
  }

  get body() {
    if (this.#kept.length !== 1) this.#kept = [Buffer.concat(this.#kept)];
    return this.#kept[0];
  }

  header(name) {
    return new RegExp(`\\r\\n${name}: *([^\\r]*)`, 'i').exec(this.head)?.[1];
  }

  unframe() {
    const framed = this.body;
    const pieces = [];
    for (let at = 0; ;) {
      const end = framed.indexOf('\r\n', at);
      const size = parseInt(framed.latin1Slice(at, end), 16);
      if (size === 0) break;
      pieces.push(framed.subarray(end + 2, end + 2 + size));
      at = end + 2 + size + 2;
    }
    this.#kept = pieces;
    this.length = this.body.length;
  }

  /** @throws when the server answered something else */
  expect(status, what) {
    if (this.status !== status)
      throw new Error(`${what}: ${this.status} instead of ${status}\n${this.head}\n${this.body}`);
    return this;
  }
}
