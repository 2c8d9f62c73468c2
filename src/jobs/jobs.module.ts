import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { JobsRunner } from './jobs.runner.js';

@Module({ imports: [DiscoveryModule], providers: [JobsRunner] })
export class JobsModule {}
