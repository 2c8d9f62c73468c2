import { Module } from '@nestjs/common';
import { QuotasModule } from '../quotas/quotas.module.js';
import { RepositoriesModule } from '../repositories/repositories.module.js';
import { BlobsOciController } from './blobs.oci.controller.js';
import { CollectionRepository } from './collection/collection.repository.js';
import { CollectionService } from './collection/collection.service.js';
import { DownloadsController } from './downloads.controller.js';
import { LayersEcrController } from './layers.ecr.controller.js';
import { LayersRepository } from './layers.repository.js';
import { LayersService } from './layers.service.js';
import { CompletionsRepository } from './uploads/completions.repository.js';
import { CompletionsService } from './uploads/completions.service.js';
import { StoreBindingRepository } from './collection/store-binding.repository.js';
import { StoreBinding } from './collection/store-binding.js';
import { UploadLeases } from './uploads/upload-leases.js';
import { UploadStaging } from './uploads/upload-staging.js';
import { UploadsOciController } from './uploads/uploads.oci.controller.js';
import { UploadsRepository } from './uploads/uploads.repository.js';
import { UploadsService } from './uploads/uploads.service.js';

@Module({
  imports: [QuotasModule, RepositoriesModule],
  controllers: [LayersEcrController, UploadsOciController, BlobsOciController, DownloadsController],
  providers: [
    LayersRepository,
    LayersService,
    UploadsRepository,
    UploadsService,
    UploadLeases,
    UploadStaging,
    CompletionsRepository,
    CompletionsService,
    CollectionRepository,
    CollectionService,
    StoreBinding,
    StoreBindingRepository,
  ],
  exports: [LayersService],
})
export class LayersModule {}
