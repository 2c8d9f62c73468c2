/** The load client's own process: makes a job ready, says so, and runs it on a word, so that the measurer can read counters around. */
import * as ecrCalls from './ecr-calls.mjs';
import * as layers from './layers.mjs';
import * as longLayers from './long-layers.mjs';
import * as parts from './parts.mjs';
import * as pulls from './pulls.mjs';
import * as requests from './requests.mjs';
import * as smallPushes from './small-pushes.mjs';

const jobs = { ...layers, ...longLayers, ...ecrCalls, ...parts, ...pulls, ...requests, ...smallPushes };
let prepared;

const steps = {
  async prepare({ job, parameters }) {
    prepared = await jobs[job](parameters);
    return { digests: prepared.digests };
  },
  async run() {
    const before = process.cpuUsage();
    const result = await prepared.run();
    const { user, system } = process.cpuUsage(before);
    return { ...result, clientCpu: (user + system) / 1e6 };
  },
  async end() {
    await prepared?.finish?.();
    prepared?.close();
    prepared = undefined;
  },
};

async function answer({ step, ...message }) {
  try {
    process.send({ result: await steps[step](message) });
  } catch (error) {
    prepared?.close();
    prepared = undefined;
    process.send({ error: error.stack });
  }
}

process.on('message', (message) => void answer(message));
process.on('disconnect', () => process.exit());
