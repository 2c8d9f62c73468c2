import { Inject, Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { BLOB_STORE, type BlobStore } from '../blob-store/blob-store.js';
import { CONFIG, type Config } from '../config/config.js';
import { PrismaService } from '../database/prisma.service.js';

/** Milliseconds a dependency may take to answer. */
const PATIENCE_MS = 2_000;
const STORE = 'blobStore';

export interface ReadinessReport {
  /** Whether requests should be sent here. The store is told of beside: without it, everything but layer bytes is served. */
  ready: boolean;
  checks: Record<string, 'ok' | 'failed'>;
}

/**
 * Whether this process can serve now: its database answers, its port is open, and it is not on its way out. A store that is
 * slow or down makes nobody unready: all processes share it, and a balancer that took them all away would take the reads of
 * metadata along, which need no store.
 */
@Injectable()
export class Readiness implements BeforeApplicationShutdown {
  private readonly logger = new Logger('Readiness');
  private readonly checks: Record<string, () => Promise<void>>;
  private running: Promise<ReadinessReport> | undefined;
  private ending = false;

  constructor(
    prisma: PrismaService,
    @Inject(BLOB_STORE) blobStore: BlobStore,
    @Inject(CONFIG) private readonly config: Config,
    private readonly adapterHost: HttpAdapterHost,
  ) {
    this.checks = {
      database: () => prisma.check(),
      [STORE]: () => blobStore.check(),
    };
  }

  /** For other parts: what else must hold for this process to be of use. */
  require(name: string, check: () => Promise<void>): void {
    this.checks[name] = check;
  }

  /** From now on the process is on its way out, whatever it still does. */
  end(): void {
    this.ending = true;
  }

  /** Callers at the same time share one round of checks. */
  report(): Promise<ReadinessReport> {
    this.running ??= this.check().finally(() => (this.running = undefined));
    return this.running;
  }

  beforeApplicationShutdown(): void {
    this.end();
  }

  private async check(): Promise<ReadinessReport> {
    const results = await Promise.all(
      Object.entries(this.checks).map(
        async ([name, check]) => [name, await this.outcome(name, check)] as const,
      ),
    );
    results.push(['port', this.isOpen() ? 'ok' : 'failed']);
    const ready = results.every(([name, outcome]) => outcome === 'ok' || name === STORE);
    return { ready, checks: Object.fromEntries(results) };
  }

  private async outcome(name: string, check: () => Promise<void>): Promise<'ok' | 'failed'> {
    const timer = new AbortController();
    try {
      const late = sleep(PATIENCE_MS, undefined, { signal: timer.signal, ref: false }).then(() => {
        throw new Error(`No answer within ${PATIENCE_MS} ms`);
      });
      await Promise.race([check(), late]);
      return 'ok';
    } catch (error) {
      if (!this.ending) this.logger.warn({ msg: `No good answer: ${name}`, err: error });
      return 'failed';
    } finally {
      timer.abort();
    }
  }

  private isOpen(): boolean {
    const server = this.adapterHost.httpAdapter.getHttpServer() as Server;
    return !this.ending && (this.config.STOWAGE_ROLE === 'worker' || server.listening);
  }
}
