import { Module } from '@nestjs/common';
import { QuotasModule } from '../quotas/quotas.module.js';
import { RepositoriesModule } from '../repositories/repositories.module.js';
import { BlobsOciController } from './blobs.oci.controller.js';
import { CollectionMetrics } from './collection/collection-metrics.js';
import { CollectionPlanRepository } from './collection/collection-plan.repository.js';
import { CollectionPlanService } from './collection/collection-plan.service.js';
import { CollectionRepository } from './collection/collection.repository.js';
import { CollectionService } from './collection/collection.service.js';
import { ObjectRemoval } from './collection/object-removal.js';
import { Orphans } from './collection/orphans.js';
import { ReviewsRepository } from './collection/reviews.repository.js';
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
    ReviewsRepository,
    CollectionMetrics,
    ObjectRemoval,
    Orphans,
    CollectionPlanRepository,
    CollectionPlanService,
    CollectionService,
    StoreBinding,
    StoreBindingRepository,
  ],
  exports: [LayersService, StoreBinding],
})
export class LayersModule {}
