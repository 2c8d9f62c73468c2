import { Module } from '@nestjs/common';
import { APP_FILTER, DiscoveryModule } from '@nestjs/core';
import { OperationTotality } from './operation-totality.js';
import { WireErrorFilter } from './wire-error.filter.js';

/** What both doors share. Routes, pipes and encoders are bound by the decorators of the controllers. */
@Module({
  imports: [DiscoveryModule],
  providers: [{ provide: APP_FILTER, useClass: WireErrorFilter }, OperationTotality],
})
export class ProtocolsModule {}
