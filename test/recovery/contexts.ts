import { type DynamicModule, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type Config, loadConfig } from '../../src/config/config.js';
import { RestoreModule } from '../../src/registry/recovery/backup/restore.module.js';
import {
  type Restored,
  type RestoreOptions,
  RestoreService,
} from '../../src/registry/recovery/backup/restore.service.js';
import { RebuildModule } from '../../src/registry/recovery/rebuild/rebuild.module.js';
import { type Rebuilt, RebuildService } from '../../src/registry/recovery/rebuild/rebuild.service.js';

type Settings = Record<string, string>;

/** As `npm run rebuild` does, in this process. */
export function rebuild(
  settings: Settings,
  options: Partial<Parameters<RebuildService['rebuild']>[0]> = {},
): Promise<Rebuilt> {
  return inApplication(
    (config) => RebuildModule.with(config),
    RebuildService,
    settings,
    (service) => service.rebuild({ signal: new AbortController().signal, acceptMissing: false, ...options }),
  );
}

/** As `npm run restore` does, in this process. */
export function restore(
  settings: Settings,
  options: Partial<RestoreOptions> & { folder: string },
): Promise<Restored> {
  return inApplication(
    (config) => RestoreModule.with(config),
    RestoreService,
    settings,
    (service) => service.restore({ signal: new AbortController().signal, acceptMissing: false, ...options }),
  );
}

async function inApplication<Service extends object, Result>(
  module: (config: Config) => DynamicModule,
  service: Type<Service>,
  settings: Settings,
  work: (service: Service) => Promise<Result>,
): Promise<Result> {
  const config = Object.freeze({ ...loadConfig(settings), serves: false });
  const application = await NestFactory.createApplicationContext(module(config), {
    logger: false,
    abortOnError: false,
  });
  try {
    return await work(application.get(service, { strict: false }));
  } finally {
    await application.close();
  }
}
