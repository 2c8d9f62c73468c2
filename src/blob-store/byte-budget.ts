import { RegistryError } from '../domain/registry-error.js';

/** How often holders are looked at while somebody waits for memory. Milliseconds. */
const LOOK_MS = 250;
/** Fewer bytes from the client between two looks, and its reservation is held for what is there, not for what may come. */
const SLOW_BYTES = 16 * 1024;
/** Fewer bytes between two looks, and the client has all but stopped. */
const STALLED_BYTES = 1024;
/** Looks without anybody getting memory, after which the slowest clients have to go. */
const PATIENCE_LOOKS = 16;
/** What a slow holder takes at once for bytes that do come. */
const STEP_BYTES = 256 * 1024;
/** What it may have beyond that, so that not every byte of a trickle queues for memory. */
const SLACK_BYTES = 64 * 1024;

interface Waiting {
  bytes: number;
  admit: () => void;
}

/** How the budget sees and ends a request that fills its reservation from a client. */
export interface Filling {
  /** Bytes of the reservation that are in use now. */
  usedBytes: () => number;
  /** Ends the request; it must release its reservation. */
  end: (reason: RegistryError) => void;
}

/**
 * Bounds the layer bytes one process holds in memory, over both doors. A request is admitted with a first reservation it may
 * have to wait for, in arrival order; beyond that it grows only if bytes are free at once, so nobody waits while holding.
 *
 * That is fair among clients that send what they announced. One that does not, held for what may come, would keep everybody
 * else out: while somebody waits, a holder whose client is slow keeps memory for the bytes that are there and takes more as
 * they come. When even that leaves nothing for those who wait, the slowest client is ended with a retryable error.
 */
export class ByteBudget {
  private free: number;
  private readonly waiting: Waiting[] = [];
  /** Slow holders with bytes to take: before those that hold nothing yet. */
  private readonly growing: Waiting[] = [];
  private readonly filling = new Set<Reservation>();
  private looking: NodeJS.Timeout | undefined;
  private looksInVain = 0;

  /** @param lookMs milliseconds; for tests */
  constructor(
    readonly capacity: number,
    private readonly lookMs = LOOK_MS,
  ) {
    this.free = capacity;
  }

  get heldBytes(): number {
    return this.capacity - this.free;
  }

  get waitingRequests(): number {
    return this.waiting.length + this.growing.length;
  }

  /**
   * Waits for a first reservation.
   * @throws the signal's reason when aborted while waiting; RangeError when more than the whole capacity is asked for
   */
  async reserve(bytes: number, signal?: AbortSignal): Promise<Reservation> {
    if (bytes > this.capacity) throw new RangeError(`${bytes} bytes exceed the budget of ${this.capacity}`);
    signal?.throwIfAborted();
    if (this.waitingRequests > 0 || bytes > this.free) await this.queue(this.waiting, bytes, signal);
    else this.free -= bytes;
    return new Reservation(this, bytes);
  }

  /** Takes bytes only if they are free now and nobody waits for admission. */
  tryTake(bytes: number): boolean {
    if (this.waitingRequests > 0 || bytes > this.free) return false;
    this.free -= bytes;
    return true;
  }

  /** Takes bytes before anybody who holds none yet. @throws the signal's reason when aborted while waiting */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.growing.length > 0 || bytes > this.free) await this.queue(this.growing, bytes, signal);
    else this.free -= bytes;
  }

  giveBack(bytes: number): void {
    this.free += bytes;
    this.admitWaiting();
  }

  watch(reservation: Reservation): void {
    this.filling.add(reservation);
  }

  unwatch(reservation: Reservation): void {
    this.filling.delete(reservation);
  }

  private queue(queue: Waiting[], bytes: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const entry = { bytes, admit: resolve };
      queue.push(entry);
      this.looking ??= setInterval(() => this.look(), this.lookMs).unref();
      signal?.addEventListener(
        'abort',
        () => {
          const index = queue.indexOf(entry);
          if (index === -1) return;
          queue.splice(index, 1);
          reject(signal.reason as Error);
          this.admitWaiting();
        },
        { once: true },
      );
    });
  }

  private get next(): Waiting | undefined {
    return this.growing[0] ?? this.waiting[0];
  }

  private admitWaiting(): void {
    for (let head = this.next; head && head.bytes <= this.free; head = this.next) {
      (this.growing.length > 0 ? this.growing : this.waiting).shift();
      this.free -= head.bytes;
      this.looksInVain = 0;
      head.admit();
    }
    if (this.next !== undefined) return;
    clearInterval(this.looking);
    this.looking = undefined;
  }

  private look(): void {
    this.looksInVain += 1;
    const slow = [...this.filling].filter((holder) => holder.look(SLOW_BYTES, STALLED_BYTES));
    for (const holder of slow) holder.keepUsed();
    if (this.next === undefined || this.looksInVain < PATIENCE_LOOKS) return;
    this.looksInVain = 0;
    const nextBytes = this.next.bytes;
    // Nothing was freed for long. Who was never slow has all it needs and will be done, so it is the others that are waited
    // for: those that stopped make room for everybody, those that go on only for the next one.
    const stalled = slow.filter((holder) => holder.stalledLooks >= PATIENCE_LOOKS);
    const late = [...this.filling].filter((holder) => holder.isCatchingUp);
    this.end(stalled, sumOf([...this.growing, ...this.waiting]));
    const order = [
      ...slow.toSorted((one, other) => one.pace - other.pace || other.bytes - one.bytes),
      ...late.toSorted((one, other) => one.bytes - other.bytes),
    ];
    this.end(
      order.filter((holder) => !stalled.includes(holder)),
      nextBytes - sumOf(stalled),
    );
  }

  /** Ends holders until so many bytes are or will be free. */
  private end(holders: Reservation[], bytes: number): void {
    let missing = bytes - this.free;
    for (const holder of holders) {
      if (missing <= 0) return;
      missing -= holder.bytes;
      holder.end();
    }
  }
}

function sumOf(items: { bytes: number }[]): number {
  return items.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Bytes held by one request; given back in whole by {@link release}, once. */
export class Reservation {
  private readonly promised: number;
  private filling: Filling | undefined;
  /** Bytes from the client since the last look. */
  private arrivedBytes = 0;
  private looked = false;
  private busy = false;
  private catchingUp: AbortController | undefined;
  /** Bytes from the client between the last two looks. */
  pace = 0;
  /** Looks for which the client has all but stopped. */
  stalledLooks = 0;

  constructor(
    private readonly budget: ByteBudget,
    private held: number,
  ) {
    this.promised = held;
  }

  get bytes(): number {
    return this.held;
  }

  /** @returns false when the bytes are not free at once; the holder then goes on with what it has. */
  tryGrow(bytes: number): boolean {
    if (!this.budget.tryTake(bytes)) return false;
    this.held += bytes;
    return true;
  }

  shrink(bytes: number): void {
    const back = Math.min(bytes, this.held);
    this.held -= back;
    this.budget.giveBack(back);
  }

  release(): void {
    this.filled();
    this.shrink(this.held);
  }

  /** From now on a client fills it, and may turn out to be too slow to hold all of it for. */
  follow(filling: Filling): void {
    this.filling = filling;
    this.budget.watch(this);
  }

  /** All bytes are there: how long they are needed is nothing the client can help. */
  filled(): void {
    this.filling = undefined;
    this.budget.unwatch(this);
  }

  /** The client has sent bytes; until {@link await}, it is not the client that is waited for. */
  arrived(bytes: number): void {
    this.arrivedBytes += bytes;
    this.busy = true;
  }

  /** It is the client's turn. */
  await(): void {
    this.busy = false;
  }

  /** Bytes in use beyond those held: some were given back because the client was slow, and now more have come. */
  get missingBytes(): number {
    const missing = (this.filling?.usedBytes() ?? 0) - this.held;
    return missing > SLACK_BYTES ? missing : 0;
  }

  get isCatchingUp(): boolean {
    return this.catchingUp !== undefined;
  }

  /** Waits until all bytes in use are held. @throws the signal's reason, or a RegistryError when others need the memory more */
  async catchUp(signal: AbortSignal): Promise<void> {
    const missing = this.missingBytes;
    if (missing === 0) return;
    const bytes = Math.max(missing, Math.min(STEP_BYTES, this.promised - this.held));
    this.catchingUp = new AbortController();
    try {
      await this.budget.take(bytes, AbortSignal.any([signal, this.catchingUp.signal]));
      this.held += bytes;
    } finally {
      this.catchingUp = undefined;
    }
  }

  /** @returns whether the client was slow since the last look */
  look(slowBytes: number, stalledBytes: number): boolean {
    const slow = this.looked && !this.busy && this.arrivedBytes < slowBytes;
    this.stalledLooks = slow && this.arrivedBytes < stalledBytes ? this.stalledLooks + 1 : 0;
    this.looked = true;
    this.pace = this.arrivedBytes;
    this.arrivedBytes = 0;
    return slow;
  }

  /** Gives back what is held for bytes that have not come. */
  keepUsed(): void {
    const used = this.filling?.usedBytes() ?? this.held;
    if (used < this.held) this.shrink(this.held - used);
  }

  /** Ends the request for the sake of others; its bytes come back as it fails. */
  end(): void {
    const reason = new RegistryError(
      'ServiceUnavailable',
      'The request body came too slowly. Retry the request.',
    );
    const { filling, catchingUp } = this;
    this.filled();
    catchingUp?.abort(reason);
    filling?.end(reason);
  }
}
