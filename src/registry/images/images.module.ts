import { Module } from '@nestjs/common';
import { QuotasModule } from '../quotas/quotas.module.js';
import { RepositoriesModule } from '../repositories/repositories.module.js';
import { DeletionsRepository } from './deletions.repository.js';
import { ImagesEcrController } from './images.ecr.controller.js';
import { ImagesRepository } from './images.repository.js';
import { ImagesService } from './images.service.js';
import { ManifestsOciController } from './manifests.oci.controller.js';
import { PushesRepository } from './pushes.repository.js';
import { TagsOciController } from './tags.oci.controller.js';
import { DeletedImagesRepository } from './trash/deleted-images.repository.js';
import { RestorationsRepository } from './trash/restorations.repository.js';
import { UndeleteService } from './trash/undelete.service.js';

@Module({
  imports: [QuotasModule, RepositoriesModule],
  controllers: [ImagesEcrController, ManifestsOciController, TagsOciController],
  providers: [
    ImagesRepository,
    PushesRepository,
    DeletionsRepository,
    DeletedImagesRepository,
    RestorationsRepository,
    UndeleteService,
    ImagesService,
  ],
})
export class ImagesModule {}
