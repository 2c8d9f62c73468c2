import { IncomingMessage } from 'node:http';

/** Pieces of a body, as its client cuts it, that may be as small as they like. */
const MOST_SMALL_PIECES = 4096;
/** Bytes the pieces of a longer body must have on average. */
const LEAST_PIECE_BYTES = 16;

/**
 * A request whose body cannot be cut into ever more, ever smaller pieces. Each piece, be it of chunked encoding or a packet,
 * costs some 300 bytes of memory until it is read and a microsecond or two: a megabyte of one-byte chunks would cost
 * hundreds of them, before anybody knows who sends it.
 */
export class RequestMessage extends IncomingMessage {
  private pieces = 0;
  private pieceBytes = 0;

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (Buffer.isBuffer(chunk)) {
      this.pieces += 1;
      this.pieceBytes += chunk.length;
      if (this.pieces > MOST_SMALL_PIECES && this.pieceBytes < this.pieces * LEAST_PIECE_BYTES) {
        this.destroy(new Error('The body comes in too many pieces'));
        return false;
      }
    }
    return super.push(chunk, encoding);
  }
}
