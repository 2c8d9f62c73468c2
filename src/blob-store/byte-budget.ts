/**
 * Bounds the layer bytes one process holds in memory, over both doors. A request is admitted with a first reservation it may
 * have to wait for, in arrival order; beyond that it grows only if bytes are free at once, so nobody waits while holding.
 */
export class ByteBudget {
  private free: number;
  private readonly waiting: { bytes: number; admit: () => void; signal?: AbortSignal | undefined }[] = [];

  constructor(readonly capacity: number) {
    this.free = capacity;
  }

  get heldBytes(): number {
    return this.capacity - this.free;
  }

  get waitingRequests(): number {
    return this.waiting.length;
  }

  /**
   * Waits for a first reservation.
   * @throws the signal's reason when aborted while waiting; RangeError when more than the whole capacity is asked for
   */
  async reserve(bytes: number, signal?: AbortSignal): Promise<Reservation> {
    if (bytes > this.capacity) throw new RangeError(`${bytes} bytes exceed the budget of ${this.capacity}`);
    signal?.throwIfAborted();
    if (this.waiting.length > 0 || bytes > this.free) {
      await new Promise<void>((resolve, reject) => {
        const entry = { bytes, admit: resolve, signal };
        this.waiting.push(entry);
        signal?.addEventListener(
          'abort',
          () => {
            const index = this.waiting.indexOf(entry);
            if (index === -1) return;
            this.waiting.splice(index, 1);
            reject(signal.reason as Error);
            this.admitWaiting();
          },
          { once: true },
        );
      });
    } else {
      this.free -= bytes;
    }
    return new Reservation(this, bytes);
  }

  /** Takes bytes only if they are free now and nobody waits for admission. */
  tryTake(bytes: number): boolean {
    if (this.waiting.length > 0 || bytes > this.free) return false;
    this.free -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.free += bytes;
    this.admitWaiting();
  }

  private admitWaiting(): void {
    for (let head = this.waiting[0]; head && head.bytes <= this.free; head = this.waiting[0]) {
      this.waiting.shift();
      this.free -= head.bytes;
      head.admit();
    }
  }
}

/** Bytes held by one request; given back in whole by {@link release}, once. */
export class Reservation {
  constructor(
    private readonly budget: ByteBudget,
    private held: number,
  ) {}

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
    this.shrink(this.held);
  }
}
