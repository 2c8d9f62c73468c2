import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoadClient } from './client/client.mjs';
import { profileOptions } from './profile/profiles.mjs';
import { median } from './statistics.mjs';
import { startDistribution } from './subjects/distribution.mjs';
import { startMinio } from './subjects/minio.mjs';
import { childrenMemory, cpuSeconds, memory, resetPeakMemory } from './subjects/processes.mjs';
import { startStowage } from './subjects/stowage.mjs';
import { startZot } from './subjects/zot.mjs';

export const KIBIBYTE = 1024;
export const MEBIBYTE = 1024 * KIBIBYTE;
export const GIBIBYTE = 1024 * MEBIBYTE;
/** What every program keeps its layers under; Stowage wants it created. */
export const REPOSITORY = 'bench/layers';

/** What one scenario works with: services of its own, started when asked for and ended with it, and the load client. */
export class Bench {
  client = new LoadClient();
  #stops = [];
  #started = 0;
  #folder;

  /** @param {{ rounds: number, quick: boolean, profile: boolean, costs: boolean }} options */
  constructor(options, log) {
    this.options = options;
    this.log = log;
  }

  /** The smaller of two sizes for a quick run. */
  size(full, quick) {
    return this.options.quick ? quick : full;
  }

  minio() {
    return this.#start('minio', startMinio);
  }

  async stowage(options = {}) {
    if (this.options.profile) this.profiles = join(await this.folder(), 'profiles');
    const profiler = this.options.profile ? profileOptions(this.profiles) : [];
    const nodeOptions = [...(options.nodeOptions ?? []), ...profiler];
    const service = await this.#start('stowage', startStowage, { ...options, nodeOptions });
    await service.createRepository(REPOSITORY);
    return service;
  }

  distribution(options) {
    return this.#start('distribution', startDistribution, options);
  }

  zot(options) {
    return this.#start('zot', startZot, options);
  }

  /** Stowage and the peers found here, all on this store. */
  async registries({ minio } = {}) {
    const stowage = await this.stowage({ minio });
    if (this.options.profile) return { stowage, all: [stowage] };
    const distribution = await this.distribution({ minio });
    const zot = await this.zot({ minio });
    return { stowage, distribution, zot, all: [stowage, distribution, zot].filter(Boolean) };
  }

  /**
   * One warm-up, then round by round each subject once, A B A B.
   * @param {Subject[]} subjects
   * @returns {Promise<Series[]>} in the order of the subjects
   */
  async alternate(subjects) {
    const series = subjects.map(({ name, unit, service }) => ({
      name,
      unit,
      service,
      rounds: [],
      windows: [],
    }));
    for (const { service } of subjects) if (service?.pid) resetPeakMemory(service.pid);
    for (let round = 0; round <= this.options.rounds; round += 1) {
      for (const [index, subject] of subjects.entries()) {
        const measured = await this.measure(subject, { warmUp: round === 0 });
        if (round === 0) continue;
        series[index].rounds.push(measured);
        this.log(`  ${subject.name}: ${measured.value.toFixed(1)} ${subject.unit}`);
      }
    }
    for (const one of series) this.#sum(one);
    return series;
  }

  /** @param {{ warmUp?: boolean }} options on a warm-up what comes is verified as well */
  async measure({ job, parameters, value, service, afterwards }, { warmUp = false } = {}) {
    // What one subject left to be written must not burden the next.
    execFileSync('sync');
    const [pid, storePid] = [service?.pid, service?.minio?.pid];
    const reading = () => ({
      at: process.hrtime.bigint(),
      cpu: pid ? cpuSeconds(pid) : 0,
      storeCpu: storePid ? cpuSeconds(storePid) : 0,
    });
    const given = typeof parameters === 'function' ? parameters() : parameters;
    const around = { before: reading, after: reading };
    const result = await this.client.run(job, { ...given, verify: warmUp }, around);
    await afterwards?.();
    const spent = (what) => result.after[what] - result.before[what];
    return { ...result, value: value(result), cpu: spent('cpu'), storeCpu: spent('storeCpu') };
  }

  #sum(series) {
    const { rounds, service } = series;
    series.values = rounds.map(({ value }) => value);
    series.median = median(series.values);
    const total = (pick) => rounds.reduce((sum, round) => sum + (pick(round) ?? 0), 0);
    series.seconds = total(({ seconds }) => seconds);
    series.bytes = total(({ bytes }) => bytes);
    series.requests = total(({ requests }) => requests);
    series.cpu = total(({ cpu }) => cpu);
    series.clientCpu = total(({ clientCpu }) => clientCpu);
    series.storeCpu = total(({ storeCpu }) => storeCpu);
    series.windows = rounds.map(({ before, after }) => [before.at, after.at]);
    if (rounds[0]?.latencies) {
      series.p50 = rounds.map(({ latencies }) => latencies.p50);
      series.p99 = rounds.map(({ latencies }) => latencies.p99);
    }
    if (!service?.pid) return;
    series.peakMemory = memory(service.pid, 'VmHWM');
    series.childrenMemory = childrenMemory(service.pid);
  }

  /**
   * What the store was asked for all rounds together, warm-up included; nobody else uses the subjects' buckets.
   * @param {Series[]} series
   * @param {number} bytes pushed in one round
   */
  async readStoreCosts(series, bytes) {
    if (!this.options.costs) return;
    const pushed = bytes * (this.options.rounds + 1);
    const stored = series.filter(({ service }) => service?.minio);
    const counters = await stored[0].service.minio.counters();
    for (const one of stored) {
      const { requests, total, receivedBytes, sentBytes } = counters(one.service.bucket);
      one.storeCost = {
        requests,
        requestsPerGibibyte: (total / pushed) * GIBIBYTE,
        receivedPerByte: receivedBytes / pushed,
        sentPerByte: sentBytes / pushed,
      };
    }
  }

  async stopServices() {
    for (const stop of this.#stops.splice(0).toReversed()) await stop();
  }

  /** Ends what was started and throws away what it stored. */
  async clear() {
    await this.stopServices();
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
    this.#folder = undefined;
  }

  async close() {
    await this.clear();
    await this.client.close();
  }

  /** Of everything this scenario keeps on disk. */
  async folder() {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'stowage-bench-'));
    return this.#folder;
  }

  async #start(name, starter, options) {
    const home = join(await this.folder(), `${name}-${(this.#started += 1)}`);
    const service = await starter(home, options);
    if (service) {
      service.folder = home;
      this.#stops.push(() => service.stop());
    }
    return service;
  }
}

/** Jobs that move layers. */
export const mebibytesPerSecond = {
  unit: 'MiB/s',
  value: ({ bytes, seconds }) => bytes / MEBIBYTE / seconds,
};
/** Jobs that make requests. */
export const perSecond = { unit: '/s', value: ({ requests, seconds }) => requests / seconds };

/**
 * @typedef {object} Subject
 * @property {string} name
 * @property {string} job of the load client
 * @property {object | (() => object)} parameters of the job
 * @property {string} unit
 * @property {(result: object) => number} value
 * @property {object} [service] whose processor time and memory are read
 * @property {() => Promise<void>} [afterwards] puts back what the job changed, untimed
 */
