import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** The measurer's end of the load client's process. */
export class LoadClient {
  #child = fork(join(import.meta.dirname, 'main.mjs'), { execArgv: ['--max-semi-space-size=64'] });

  /**
   * @param {string} job name of a function of this folder
   * @param {object} parameters
   * @param {{ before?: () => unknown, after?: () => unknown }} [around] called right before and after what is timed
   * @returns {Promise<object>} the job's result, with what the preparation gave and `before` and `after` returned
   */
  async run(job, parameters, { before, after } = {}) {
    const prepared = await this.#ask({ step: 'prepare', job, parameters });
    const counted = { before: await before?.() };
    const result = await this.#ask({ step: 'run' });
    counted.after = await after?.();
    await this.#ask({ step: 'end' });
    return { ...prepared, ...result, ...counted };
  }

  async close() {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.disconnect();
    await exit;
  }

  #ask(message) {
    return new Promise((resolve, reject) => {
      const died = () => reject(new Error('The load client died'));
      this.#child.once('exit', died);
      this.#child.once('message', ({ result, error }) => {
        this.#child.off('exit', died);
        if (error) reject(new Error(error));
        else resolve(result);
      });
      this.#child.send(message);
    });
  }
}
