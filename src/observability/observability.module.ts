import { Global, Module } from '@nestjs/common';
import { LoggerModule } from 'nestjs-pino';
import { CONFIG } from '../config/config.js';
import { loggerParams } from './logger.js';
import { Metrics } from './metrics.js';
import { OperatorServer } from './operator.server.js';
import { Readiness } from './readiness.js';
import { RequestLog } from './request-log.js';

/** Global, since any part may add to the metrics. */
@Global()
@Module({
  imports: [LoggerModule.forRootAsync({ inject: [CONFIG], useFactory: loggerParams })],
  providers: [Metrics, RequestLog, Readiness, OperatorServer],
  exports: [Metrics, RequestLog, Readiness],
})
export class ObservabilityModule {}
