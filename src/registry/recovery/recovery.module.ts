import { Module } from '@nestjs/common';
import { LayersModule } from '../layers/layers.module.js';
import { BackupService } from './backup/backup.service.js';
import { DumpRepository } from './backup/dump.repository.js';
import { LocksRepository } from './locks.repository.js';
import { RecordsRepository } from './records/records.repository.js';
import { RecordsService } from './records/records.service.js';

/** What runs inside the application; a restore and a rebuild have one of their own. */
@Module({
  imports: [LayersModule],
  providers: [RecordsRepository, RecordsService, BackupService, DumpRepository, LocksRepository],
})
export class RecoveryModule {}
