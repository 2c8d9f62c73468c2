/**
 * Gives the memory of bytes nobody reads any more back at once. V8 sees a chunk of a layer as an object of a hundred bytes
 * and is in no hurry to collect it; when it is, it looks through the whole heap. Only for buffers whose every reader is
 * done: afterwards they are empty. One that shares its memory with others is left to the garbage collector.
 */
export function giveBack(spent: Buffer[]): void {
  for (const { buffer, byteLength } of spent)
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
