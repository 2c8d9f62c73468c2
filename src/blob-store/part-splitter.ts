import type { AppendContext, AppendSource } from './blob-store.js';
import type { ByteBudget, Reservation } from './byte-budget.js';

const MEBIBYTE = 1024 * 1024;
/** S3 refuses smaller parts, except the last one. */
export const MIN_PART_BYTES = 5 * MEBIBYTE;
/** Measured fastest against MinIO; 8 MiB was slower. */
const TARGET_PART_BYTES = 16 * MEBIBYTE;
const PARTS_IN_FLIGHT = 3;
const GROWTH_BYTES = MEBIBYTE;
/** Held before memory is asked for: who sends no more than this keeps nobody waiting. */
const FIRST_BYTES = 64 * 1024;
/** Part numbers taken at once while streaming: one statement per so many parts, which also renews the lease. */
const PART_NUMBERS = 8;

/** One part as the store acknowledged it. */
export interface StorePart {
  n: number;
  etag: string;
  /** Bytes. */
  size: number;
  /** Base64, as S3 writes it. */
  crc32: string;
}

interface Split {
  parts: StorePart[];
  rest: Buffer[];
  restBytes: number;
}

/**
 * Cuts a byte stream into parts of a multipart upload and sends up to three at once. Five MiB are held back until the
 * stream ends, so that whatever is left is itself a part: only a stream of less than five MiB leaves a rest. When memory is
 * short, parts get smaller instead, and a rest can remain.
 */
export class PartSplitter {
  /** Called once, before the first part is sent, in stream order. */
  beforeFirstPart?: () => Promise<void>;

  private readonly parts: Promise<StorePart>[] = [];
  private readonly inFlight = new Set<Promise<unknown>>();
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private inFlightBytes = 0;
  private numbers = { next: 0, left: 0 };

  constructor(
    private readonly budget: ByteBudget,
    private readonly context: AppendContext,
    private readonly send: (bytes: Buffer[], partNumber: number, crc32?: number) => Promise<StorePart>,
  ) {}

  async split(source: AppendSource): Promise<Split> {
    let memory: Reservation | null = null;
    try {
      for await (const chunk of source.bytes) {
        memory?.arrived(chunk.length);
        this.pending.push(chunk);
        this.pendingBytes += chunk.length;
        if (!source.inMemory && this.pendingBytes > FIRST_BYTES) {
          memory ??= await this.reserve(source);
          await this.makeRoom(memory);
        }
        while (this.pendingBytes >= TARGET_PART_BYTES + MIN_PART_BYTES)
          await this.cut(TARGET_PART_BYTES, memory);
        memory?.await();
      }
      memory?.filled();
      const crc32 = this.parts.length === 0 ? source.crc32 : undefined;
      if (this.pendingBytes >= MIN_PART_BYTES) await this.cut(this.pendingBytes, memory, crc32);
      const parts = await Promise.all(this.parts);
      return { parts, rest: this.pending, restBytes: this.pendingBytes };
    } catch (error) {
      await Promise.allSettled(this.inFlight);
      throw error;
    } finally {
      memory?.release();
    }
  }

  private async reserve({ abandon }: AppendSource): Promise<Reservation> {
    const memory = await this.budget.reserve(MIN_PART_BYTES, this.context.signal);
    if (abandon) memory.follow({ usedBytes: () => this.pendingBytes + this.inFlightBytes, end: abandon });
    return memory;
  }

  /**
   * Grows by what is free at once; else sends what it has as a smaller part and waits until that is gone. Too little for a
   * part waits for memory, which only a client that was slow has to.
   */
  private async makeRoom(memory: Reservation): Promise<void> {
    const missing = this.pendingBytes + this.inFlightBytes - memory.bytes;
    if (missing <= 0 || memory.tryGrow(Math.max(GROWTH_BYTES, missing))) return;
    if (this.pendingBytes < MIN_PART_BYTES) return memory.catchUp(this.context.signal);
    await this.cut(this.pendingBytes, null);
    await Promise.all(this.inFlight);
  }

  /** @param memory gives back the bytes once they are in the store */
  private async cut(bytes: number, memory: Reservation | null, crc32?: number): Promise<void> {
    while (this.inFlight.size >= PARTS_IN_FLIGHT) await Promise.race(this.inFlight);
    const part = this.takePending(bytes);
    this.inFlightBytes += bytes;
    const partNumber = await this.nextPartNumber();
    if (this.parts.length === 0) await this.beforeFirstPart?.();
    const sent = this.send(part, partNumber, crc32).finally(() => {
      this.inFlight.delete(sent);
      this.inFlightBytes -= bytes;
      memory?.shrink(bytes);
    });
    sent.catch(() => undefined);
    this.inFlight.add(sent);
    this.parts.push(sent);
  }

  /** Takes exactly `bytes` from the front; a chunk on the border is split in place, not copied. */
  private takePending(bytes: number): Buffer[] {
    let count = 0;
    let taken = 0;
    while (taken < bytes) taken += this.pending[count++]!.length;
    const part = this.pending.splice(0, count);
    const surplus = taken - bytes;
    if (surplus > 0) {
      const border = part.pop()!;
      part.push(border.subarray(0, border.length - surplus));
      this.pending.unshift(border.subarray(border.length - surplus));
    }
    this.pendingBytes -= bytes;
    return part;
  }

  private async nextPartNumber(): Promise<number> {
    if (this.numbers.left === 0) {
      const count = this.parts.length === 0 ? 1 : PART_NUMBERS;
      this.numbers = { next: await this.context.takePartNumbers(count), left: count };
    }
    this.numbers.left -= 1;
    return this.numbers.next++;
  }
}
