import type { INestApplication } from '@nestjs/common';
import { createApplication } from '../../src/application.js';
import { loadConfig } from '../../src/config/config.js';
import { PrismaService } from '../../src/database/prisma.service.js';
import { connectTo, type RegistryClient } from './registry-client.js';
import {
  createEnvironment,
  type RegistryOptions,
  replicaOf,
  type TestEnvironment,
} from './test-environment.js';

export interface TestRegistry extends RegistryClient {
  app: INestApplication;
  /** For asserting what was recorded. */
  prisma: PrismaService;
  environment: TestEnvironment;
  close(): Promise<void>;
}

/** The real application in this process, over real HTTP, with database and store of its own. */
export async function startRegistry(options: RegistryOptions): Promise<TestRegistry> {
  return serve(await createEnvironment(options));
}

/** Another process of the same deployment: same database, store and keys, ports of its own. */
export async function startReplica(
  of: TestRegistry,
  config: Record<string, string> = {},
): Promise<TestRegistry> {
  return serve(await replicaOf(of.environment, config));
}

async function serve(environment: TestEnvironment): Promise<TestRegistry> {
  try {
    const application = await createApplication(loadConfig(environment.settings));
    await application.listen();
    const client = await connectTo(environment.url, environment.credentials);
    return {
      ...client,
      app: application.app,
      prisma: application.app.get(PrismaService),
      environment,
      async close() {
        client.ecr.destroy();
        await application.close();
        await environment.remove();
      },
    };
  } catch (error) {
    await environment.remove();
    throw error;
  }
}
