import { Module } from '@nestjs/common';
import { ImagesModule } from './images/images.module.js';
import { IntegrityModule } from './integrity/integrity.module.js';
import { LayersModule } from './layers/layers.module.js';
import { RecoveryModule } from './recovery/recovery.module.js';
import { RepositoriesModule } from './repositories/repositories.module.js';
import { SettingsModule } from './settings/settings.module.js';

@Module({
  imports: [SettingsModule, RepositoriesModule, LayersModule, ImagesModule, IntegrityModule, RecoveryModule],
})
export class RegistryModule {}
