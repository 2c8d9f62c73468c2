import { type DynamicModule, Module } from '@nestjs/common';
import { BlobStoreModule } from './blob-store/blob-store.module.js';
import type { Config } from './config/config.js';
import { ConfigModule } from './config/config.module.js';
import { DatabaseModule } from './database/database.module.js';
import { IdentityModule } from './identity/identity.module.js';
import { RootKeyModule } from './identity/keys/root-key.module.js';
import { JobsModule } from './jobs/jobs.module.js';
import { ObservabilityModule } from './observability/observability.module.js';
import { ProtocolsModule } from './protocols/protocols.module.js';
import { RegistryModule } from './registry/registry.module.js';

/** The composition root: how clients speak, who they are, what the registry does, and what it stands on. */
@Module({
  imports: [
    ProtocolsModule,
    IdentityModule,
    RootKeyModule,
    RegistryModule,
    JobsModule,
    BlobStoreModule,
    DatabaseModule,
    ObservabilityModule,
  ],
})
export class AppModule {
  static with(config: Config): DynamicModule {
    return { module: AppModule, imports: [ConfigModule.of(config)] };
  }
}
