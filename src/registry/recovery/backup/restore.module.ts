import { type DynamicModule, Module } from '@nestjs/common';
import { BlobStoreModule } from '../../../blob-store/blob-store.module.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { ConfigModule } from '../../../config/config.module.js';
import { PostgresServer } from '../../../database/postgres-server.js';
import { LocksRepository } from '../locks.repository.js';
import { RestoreRepository } from './restore.repository.js';
import { RestoreService } from './restore.service.js';

/** An application of its own, which leaves the structure of the database to the backup. */
@Module({
  imports: [BlobStoreModule],
  providers: [
    {
      provide: PostgresServer,
      inject: [CONFIG],
      useFactory: (config: Config) => PostgresServer.openAsItIs(config),
    },
    LocksRepository,
    RestoreRepository,
    RestoreService,
  ],
})
export class RestoreModule {
  static with(config: Config): DynamicModule {
    return { module: RestoreModule, imports: [ConfigModule.of(config)] };
  }
}
