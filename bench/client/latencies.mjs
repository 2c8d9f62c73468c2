/** How long requests took, in milliseconds. */
export class Latencies {
  #samples = [];

  add(milliseconds) {
    this.#samples.push(milliseconds);
  }

  get count() {
    return this.#samples.length;
  }

  /** @returns {{ count: number, p50: number, p99: number, max: number }} */
  summary() {
    const sorted = Float64Array.from(this.#samples).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
    return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}
