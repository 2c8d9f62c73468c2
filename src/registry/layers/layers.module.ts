import { Module } from '@nestjs/common';
import { QuotasModule } from '../quotas/quotas.module.js';
import { RepositoriesModule } from '../repositories/repositories.module.js';
import { BlobsOciController } from './blobs.oci.controller.js';
import { CollectionRepository } from './collection.repository.js';
import { CollectionService } from './collection.service.js';
import { DownloadsController } from './downloads.controller.js';
import { LayersEcrController } from './layers.ecr.controller.js';
import { LayersRepository } from './layers.repository.js';
import { LayersService } from './layers.service.js';
import { CompletionsService } from './completions.service.js';
import { StoreBindingRepository } from './store-binding.repository.js';
import { StoreBinding } from './store-binding.js';
import { UploadLeases } from './upload-leases.js';
import { UploadStaging } from './upload-staging.js';
import { UploadsOciController } from './uploads.oci.controller.js';
import { UploadsRepository } from './uploads.repository.js';
import { UploadsService } from './uploads.service.js';

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
    CompletionsService,
    CollectionRepository,
    CollectionService,
    StoreBinding,
    StoreBindingRepository,
  ],
  exports: [LayersService],
})
export class LayersModule {}
