import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleInit,
} from '@nestjs/common';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import {
  Logger as WorkerLogger,
  parseCronItems,
  run,
  type Runner,
  runMigrations,
  type Task,
} from 'graphile-worker';
import pg from 'pg';
import { CONFIG, type Config } from '../config/config.js';
import { atMost } from '../config/patience.js';
import { sessionPoolConfig } from '../database/connections.js';
import { PostgresServer } from '../database/postgres-server.js';
import { Readiness } from '../observability/readiness.js';
import { SCHEDULED_JOB, type Schedule } from './scheduled-job.decorator.js';

/** Milliseconds between looks for jobs; scheduled ones are in no hurry. */
const POLL_MS = 10_000;
/** Of the queue itself, beside two for each running job. */
const OWN_CONNECTIONS = 2;
/** The queue's own statements are short; jobs do their work over other connections. */
const ANSWER_PATIENCE_MS = 60_000;
/** How long the end of the process waits for jobs to stop at their next step. */
const ENDING_PATIENCE_MS = 10_000;
const DISCONNECT_PATIENCE_MS = 1_000;

type WorkerOptions = { pgPool: pg.Pool; logger: WorkerLogger };

interface Job extends Schedule {
  work: (signal: AbortSignal) => Promise<unknown>;
}

/** Runs the scheduled jobs of all capabilities through a queue in PostgreSQL, in processes of role `worker` or `both`. */
@Injectable()
export class JobsRunner implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(JobsRunner.name);
  private readonly stopping = new AbortController();
  private runner?: Runner;
  private pool?: pg.Pool;
  private fault: Error | null = new Error('The job queue has not begun yet');

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly database: PostgresServer,
    private readonly readiness: Readiness,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** Before the operator's port opens: a worker without its queue is of no use. */
  onModuleInit(): void {
    if (this.config.STOWAGE_ROLE === 'worker')
      this.readiness.require('jobs', async () => {
        if (this.fault !== null) throw this.fault;
      });
  }

  async onApplicationBootstrap(): Promise<void> {
    if (!this.config.serves) return;
    const jobs = this.jobs();
    this.pool = this.openPool(jobs.length);
    const options = { pgPool: this.pool, logger: this.workerLogger() };
    await runMigrations(options);
    if (this.config.STOWAGE_ROLE === 'api') return;
    await this.begin(options, jobs);
  }

  private async begin(options: WorkerOptions, jobs: Job[]): Promise<void> {
    this.runner = await run({
      ...options,
      // Each runs once at a time: with a place for every one of them, none waits for another that takes hours.
      concurrency: jobs.length,
      pollInterval: POLL_MS,
      noHandleSignals: true,
      // Without a delay nobody awaits the statement that ends a job, and its failure ends the process; with one, even none, it
      // ends the queue, which is begun again.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
      taskList: Object.fromEntries(jobs.map((job) => [job.name, this.task(job)])),
      parsedCronItems: parseCronItems(
        jobs.map(({ name, cron }) => ({
          task: name,
          match: cron,
          // A run that waits is not doubled. No queue: it would stay taken for hours by a worker that died.
          options: { jobKey: name, jobKeyMode: 'preserve_run_at', maxAttempts: 3 },
        })),
      ),
    });
    this.fault = null;
    this.runner.promise.then(
      () => this.beginAgain(options, jobs),
      (error: unknown) => this.beginAgain(options, jobs, error),
    );
  }

  /** The queue ends itself when the database leaves it without an answer for too long; it must not end with it. */
  private beginAgain(options: WorkerOptions, jobs: Job[], cause?: unknown): void {
    if (this.stopping.signal.aborted) return;
    this.fault = new Error('The job queue ended and will be begun again', { cause });
    this.logger.error({ msg: this.fault.message, err: cause });
    setTimeout(() => {
      if (this.stopping.signal.aborted) return;
      this.begin(options, jobs).catch((again: unknown) => this.beginAgain(options, jobs, again));
    }, POLL_MS).unref();
  }

  /** Running jobs stop at their next step and are run again later. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    if (this.runner) await atMost(ENDING_PATIENCE_MS, this.runner.stop());
    if (this.pool) await atMost(DISCONNECT_PATIENCE_MS, this.pool.end());
  }

  /** Our own, to be told of connections that break: the queue stops listening for that before it has closed the last one. */
  private openPool(jobs: number): pg.Pool {
    // Each job holds one for its lock, beside those of the queue.
    const max = 2 * jobs + OWN_CONNECTIONS;
    const pool = new pg.Pool(sessionPoolConfig(this.database.url, max, ANSWER_PATIENCE_MS));
    const broken = (error: Error): void =>
      this.logger.debug({ msg: 'A connection of the job queue broke', err: error });
    pool.on('error', broken);
    pool.on('connect', (client) => client.on('error', broken));
    return pool;
  }

  private jobs(): Job[] {
    return this.discovery.getProviders().flatMap(({ instance }) => {
      const provider = instance as Record<string, unknown> | null;
      if (!provider || typeof provider !== 'object') return [];
      return this.scanner.getAllMethodNames(Object.getPrototypeOf(provider) as object).flatMap((method) => {
        const work = provider[method];
        const schedule =
          typeof work === 'function'
            ? this.reflector.get<Schedule | undefined>(SCHEDULED_JOB, work)
            : undefined;
        return schedule
          ? [{ ...schedule, work: (signal: AbortSignal) => (work as Job['work']).call(provider, signal) }]
          : [];
      });
    });
  }

  private task({ name, work }: Job): Task {
    return async () => {
      try {
        await this.alone(name, () => work(this.stopping.signal));
      } catch (error) {
        this.logger.error({ msg: `The job ${name} failed and will be tried again`, err: error });
        throw error;
      }
    };
  }

  /** One run at a time over all processes, by a lock of the session, which ends with whoever holds it. */
  private async alone(name: string, work: () => Promise<unknown>): Promise<void> {
    const session = await this.pool!.connect();
    let broken = false;
    try {
      const { rows } = await session.query<{ free: boolean }>(
        'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS free',
        [`job ${name}`],
      );
      if (!rows[0]!.free) return;
      try {
        await work();
      } finally {
        await session
          .query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [`job ${name}`])
          .catch(() => (broken = true));
      }
    } finally {
      session.release(broken);
    }
  }

  private workerLogger(): WorkerLogger {
    return new WorkerLogger(() => (level, message) => {
      if (level === 'error') this.logger.error(message);
      else if (level === 'warning') this.logger.warn(message);
      else this.logger.debug(message);
    });
  }
}
