import { Module } from '@nestjs/common';
import { SettingsEcrController } from './settings.ecr.controller.js';

@Module({ controllers: [SettingsEcrController] })
export class SettingsModule {}
