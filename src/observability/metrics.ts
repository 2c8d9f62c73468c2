import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { ByteBudget } from '../blob-store/byte-budget.js';

export interface RequestMeasure {
  door: string;
  /** Of the model or of the distribution specification; never anything a client made up. */
  operation: string;
  /** HTTP status, or `aborted` when the client went away first. */
  status: string;
  seconds: number;
  receivedBytes: number;
  sentBytes: number;
}

/** Seconds; the upper ones are for layers. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** What a database that does not answer may delay the other figures. */
const READ_PATIENCE_MS = 1_000;

/** Everything `/metrics` shows, in a registry of its own: several applications may live in one process. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();
  private readonly duration: Histogram<'door' | 'operation' | 'status'>;
  private readonly received: Counter<'door' | 'operation'>;
  private readonly sent: Counter<'door' | 'operation'>;
  private readonly running: Gauge;

  constructor(budget: ByteBudget) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.duration = new Histogram({
      name: 'stowage_request_duration_seconds',
      help: 'Requests by operation and outcome, from the first header to the last byte of the answer',
      labelNames: ['door', 'operation', 'status'],
      buckets: DURATION_BUCKETS,
      registers,
    });
    this.received = new Counter({
      name: 'stowage_request_received_bytes_total',
      help: 'Bytes clients sent',
      labelNames: ['door', 'operation'],
      registers,
    });
    this.sent = new Counter({
      name: 'stowage_request_sent_bytes_total',
      help: 'Bytes sent to clients',
      labelNames: ['door', 'operation'],
      registers,
    });
    this.running = new Gauge({
      name: 'stowage_requests_running',
      help: 'Requests being served now',
      registers,
    });
    this.gauge('stowage_layer_bytes_held', 'Layer bytes held in memory now', () => budget.heldBytes);
    this.gauge('stowage_layer_requests_waiting', 'Uploads waiting for memory', () => budget.waitingRequests);
  }

  /** For other parts: a value read whenever somebody looks. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect() {
        this.set(await read());
      },
    });
  }

  /** For other parts: values by label, read whenever somebody looks. Unknown while the reading fails or takes too long. */
  gauges(name: string, help: string, label: string, read: () => Promise<Record<string, number>>): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      async collect() {
        const late = sleep(READ_PATIENCE_MS, null, { ref: false });
        const values = await Promise.race([read().catch(() => null), late]);
        this.reset();
        for (const [labelled, value] of Object.entries(values ?? {})) this.set({ [label]: labelled }, value);
      },
    });
  }

  /** For other parts: something that only grows. */
  counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  requestBegan(): void {
    this.running.inc();
  }

  requestEnded({ door, operation, status, seconds, receivedBytes, sentBytes }: RequestMeasure): void {
    this.running.dec();
    this.duration.observe({ door, operation, status }, seconds);
    this.received.inc({ door, operation }, receivedBytes);
    this.sent.inc({ door, operation }, sentBytes);
  }
}
