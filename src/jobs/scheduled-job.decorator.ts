import { SetMetadata } from '@nestjs/common';

export const SCHEDULED_JOB = Symbol('SCHEDULED_JOB');

export interface Schedule {
  name: string;
  /** Five fields, UTC. */
  cron: string;
}

/**
 * Makes a method `(signal: AbortSignal) => Promise<unknown>` a job that runs on one process of the deployment at a time, at
 * the times of the crontab expression. It must be resumable: it may be stopped anywhere and is run again after a failure.
 */
export function ScheduledJob(name: string, cron: string): MethodDecorator {
  return SetMetadata(SCHEDULED_JOB, { name, cron } satisfies Schedule);
}
