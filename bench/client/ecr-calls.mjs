/** Calls of the ECR API, one after another, signed before the clock starts. */
import { openConnections } from './http.mjs';
import { Latencies } from './latencies.mjs';
import { signedCall } from './sign.mjs';

/** @param {{ target: import('./http.mjs').Target, operation: string, inputs: object[], holds?: string }} parameters `holds`: what each answer must contain */
export async function callEcr({ target, operation, inputs, holds }) {
  const [connection] = await openConnections(target, 1);
  const calls = [];
  for (const input of inputs) {
    const body = Buffer.from(JSON.stringify(input));
    calls.push({ head: await signedCall(target, operation, body), body });
  }
  return {
    async run() {
      const latencies = new Latencies();
      const start = performance.now();
      for (const { head, body } of calls) {
        const began = performance.now();
        const answer = await connection.send(head, body);
        latencies.add(performance.now() - began);
        answer.expect(200, operation);
        if (holds && !answer.body.includes(holds))
          throw new Error(`${operation} did not answer with ${holds}`);
      }
      const seconds = (performance.now() - start) / 1000;
      return { seconds, requests: calls.length, latencies: latencies.summary() };
    },
    close: () => connection.close(),
  };
}
