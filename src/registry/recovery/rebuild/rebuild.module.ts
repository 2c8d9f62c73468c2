import { type DynamicModule, Module } from '@nestjs/common';
import { BlobStoreModule } from '../../../blob-store/blob-store.module.js';
import type { Config } from '../../../config/config.js';
import { ConfigModule } from '../../../config/config.module.js';
import { DatabaseModule } from '../../../database/database.module.js';
import { LocksRepository } from '../locks.repository.js';
import { RecordReader } from '../records/record-reader.js';
import { LayerIndexRepository } from './layer-index.repository.js';
import { RebuildRepository } from './rebuild.repository.js';
import { RebuildService } from './rebuild.service.js';

/** An application of its own: the service does not start on a database and a store that do not belong together. */
@Module({
  imports: [DatabaseModule, BlobStoreModule],
  providers: [RebuildService, RebuildRepository, LayerIndexRepository, RecordReader, LocksRepository],
})
export class RebuildModule {
  static with(config: Config): DynamicModule {
    return { module: RebuildModule, imports: [ConfigModule.of(config)] };
  }
}
