import { Module } from '@nestjs/common';
import { QuotasModule } from '../quotas/quotas.module.js';
import { CatalogOciController } from './catalog.oci.controller.js';
import { RepositoriesEcrController } from './repositories.ecr.controller.js';
import { RepositoriesRepository } from './repositories.repository.js';
import { RepositoriesService } from './repositories.service.js';

@Module({
  imports: [QuotasModule],
  controllers: [RepositoriesEcrController, CatalogOciController],
  providers: [RepositoriesRepository, RepositoriesService],
  exports: [RepositoriesService],
})
export class RepositoriesModule {}
