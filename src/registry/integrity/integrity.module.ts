import { Module } from '@nestjs/common';
import { LayersModule } from '../layers/layers.module.js';
import { ByteCheck } from './byte-check.js';
import { CounterCheck } from './counter-check.js';
import { FsckService } from './fsck.service.js';
import { ImageCheck } from './image-check.js';
import { IntegrityRepository } from './integrity.repository.js';
import { ObjectCheck } from './object-check.js';
import { ObjectVerifier } from './object-verifier.js';
import { OpenUploadsRepository } from './open-uploads.repository.js';
import { RecordsRepository } from './records.repository.js';
import { ScrubService } from './scrub.service.js';
import { UploadCheck } from './upload-check.js';

@Module({
  imports: [LayersModule],
  providers: [
    IntegrityRepository,
    OpenUploadsRepository,
    RecordsRepository,
    ObjectVerifier,
    ObjectCheck,
    UploadCheck,
    ImageCheck,
    CounterCheck,
    ByteCheck,
    FsckService,
    ScrubService,
  ],
  exports: [FsckService],
})
export class IntegrityModule {}
