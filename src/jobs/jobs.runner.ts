import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
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
import { PostgresServer } from '../database/postgres-server.js';
import { SCHEDULED_JOB, type Schedule } from './scheduled-job.decorator.js';

/** Milliseconds between looks for jobs; scheduled ones are in no hurry. */
const POLL_MS = 10_000;
const CONCURRENT_JOBS = 2;
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
export class JobsRunner implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(JobsRunner.name);
  private readonly stopping = new AbortController();
  private runner?: Runner;
  private pool?: pg.Pool;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly database: PostgresServer,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    if (!this.config.serves) return;
    this.pool = this.openPool();
    const options = { pgPool: this.pool, logger: this.workerLogger() };
    await runMigrations(options);
    if (this.config.STOWAGE_ROLE === 'api') return;
    await this.begin(options);
  }

  private async begin(options: WorkerOptions): Promise<void> {
    const jobs = this.jobs();
    this.runner = await run({
      ...options,
      concurrency: CONCURRENT_JOBS,
      pollInterval: POLL_MS,
      noHandleSignals: true,
      taskList: Object.fromEntries(jobs.map((job) => [job.name, this.task(job)])),
      parsedCronItems: parseCronItems(
        jobs.map(({ name, cron }) => ({
          task: name,
          match: cron,
          // One at a time over all processes; a run that is waiting or running is not doubled.
          options: { jobKey: name, jobKeyMode: 'preserve_run_at', queueName: name, maxAttempts: 3 },
        })),
      ),
    });
    this.runner.promise.catch((error: unknown) => this.beginAgain(options, error));
  }

  /** The queue ends itself when the database leaves it without an answer for too long; it must not end with it. */
  private beginAgain(options: WorkerOptions, error: unknown): void {
    if (this.stopping.signal.aborted) return;
    this.logger.error({ msg: 'The job queue ended and will be begun again', err: error });
    setTimeout(() => {
      if (this.stopping.signal.aborted) return;
      this.begin(options).catch((again: unknown) => this.beginAgain(options, again));
    }, POLL_MS).unref();
  }

  /** Running jobs stop at their next step and are run again later. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    if (this.runner) await atMost(ENDING_PATIENCE_MS, this.runner.stop());
    if (this.pool) await atMost(DISCONNECT_PATIENCE_MS, this.pool.end());
  }

  /** Our own, to be told of connections that break: the queue stops listening for that before it has closed the last one. */
  private openPool(): pg.Pool {
    const pool = new pg.Pool({
      connectionString: this.database.url,
      max: CONCURRENT_JOBS + 2,
      connectionTimeoutMillis: ANSWER_PATIENCE_MS,
      query_timeout: ANSWER_PATIENCE_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
    });
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
        await work(this.stopping.signal);
      } catch (error) {
        this.logger.error({ msg: `The job ${name} failed and will be tried again`, err: error });
        throw error;
      }
    };
  }

  private workerLogger(): WorkerLogger {
    return new WorkerLogger(() => (level, message) => {
      if (level === 'error') this.logger.error(message);
      else if (level === 'warning') this.logger.warn(message);
      else this.logger.debug(message);
    });
  }
}
