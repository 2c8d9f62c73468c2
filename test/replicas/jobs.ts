import type { RegistryProcess, ServiceProcess } from '../support/registry-process.js';
import type { Records } from './records.js';

/** The queue of scheduled jobs of a deployment, used as its own clock uses it. */
export interface JobQueue {
  /** Has the job run, as its time in the crontab does: one that waits is not doubled. */
  fall(job: string): Promise<void>;
  /** Those that wait, that run, and that were running when their worker died. */
  entries(job: string): Promise<number>;
  /** Connections to this database that wait to be told of jobs: one per process that runs any. */
  workers(): Promise<number>;
}

export function queueOf({ prisma }: Records): JobQueue {
  return {
    async fall(job) {
      await prisma.$queryRaw`
        SELECT id FROM graphile_worker.add_job(${job}, job_key => ${job}, job_key_mode => 'preserve_run_at', max_attempts => 3)`;
    },
    async entries(job) {
      const [row] = await prisma.$queryRaw<{ count: number }[]>`
        SELECT count(*)::int AS count FROM graphile_worker.jobs WHERE task_identifier = ${job}`;
      return row!.count;
    },
    async workers() {
      const [row] = await prisma.$queryRaw<{ count: number }[]>`
        SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN "jobs:insert"%'`;
      return row!.count;
    },
  };
}

/** What a process says of itself at its operator port. @returns the sum over all labels, 0 for a name it does not know */
export async function metric(
  { environment }: ServiceProcess | RegistryProcess,
  name: string,
): Promise<number> {
  const text = await (await fetch(`${environment.operatorUrl}/metrics`)).text();
  const values = text
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** One count of all runs of the collector a process has logged so far, which it does after each that had anything to do. */
export function loggedOf({ output }: ServiceProcess, count: string): number {
  return output
    .split('\n')
    .filter((line) => line.includes('"Collected garbage"'))
    .reduce((sum, line) => sum + Number((JSON.parse(line) as Record<string, number>)[count]), 0);
}
