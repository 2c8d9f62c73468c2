import { connectTo, type RegistryClient } from '../support/registry-client.js';
import { type RegistryProcess, startReplicaProcess } from '../support/registry-process.js';
import { createEnvironment, replicaOf, type TestEnvironment } from '../support/test-environment.js';
import { type Balancer, type BalancerName, balancerPort, startBalancer } from './balancer.js';

/** Several service processes on one database and one bucket. */
export interface Deployment {
  replicas: RegistryProcess[];
  /** Of one more process of the deployment, or of one that takes another's place. */
  environment: TestEnvironment;
  close(): Promise<void>;
}

export interface BalancedDeployment extends Deployment {
  /** Through the balancer. */
  client: RegistryClient;
}

/** Starts them all at the same moment. */
export async function startDeployment(
  count: number,
  config: Record<string, string> = {},
): Promise<Deployment> {
  // The tests' own store, unless the settings name another.
  const environment = await createEnvironment({ store: 's3', config });
  const started = await Promise.allSettled(
    Array.from({ length: count }, async () => startReplicaProcess(await replicaOf(environment))),
  );
  const replicas = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const close = async (): Promise<void> => {
    await Promise.all(replicas.map((replica) => replica.close()));
    await environment.remove();
  };
  const failed = started.find((outcome) => outcome.status === 'rejected');
  if (!failed) return { replicas, environment, close };
  await close();
  throw failed.reason;
}

/** The same behind a balancer, whose address is the registry's. */
export async function startBalancedDeployment(
  count: number,
  config: Record<string, string> = {},
  name: BalancerName = 'haproxy',
): Promise<BalancedDeployment> {
  const port = await balancerPort();
  const url = `http://127.0.0.1:${port}`;
  const deployment = await startDeployment(count, { STOWAGE_PUBLIC_URL: url, ...config });
  let balancer: Balancer | undefined;
  try {
    balancer = await startBalancer(
      name,
      port,
      deployment.replicas.map(({ environment }) => environment),
    );
    const client = await connectTo(url, deployment.environment.credentials);
    return {
      ...deployment,
      client,
      async close() {
        client.ecr.destroy();
        await balancer?.stop();
        await deployment.close();
      },
    };
  } catch (error) {
    await balancer?.stop();
    await deployment.close();
    throw error;
  }
}
