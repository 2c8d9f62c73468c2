import { Injectable, Logger, type OnModuleInit, type Type } from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { coverageOf } from './coverage.js';
import { OPERATION_NAMES } from './ecr/operation-names.js';

/** Refuses to start with two handlers for one operation, and says what is not answered yet. */
@Injectable()
export class OperationTotality implements OnModuleInit {
  private readonly logger = new Logger(OperationTotality.name);

  constructor(private readonly discovery: DiscoveryService) {}

  onModuleInit(): void {
    const controllers = this.discovery
      .getControllers()
      .flatMap(({ metatype }) => (metatype ? [metatype as Type] : []));
    const { ecr, faults } = coverageOf(controllers);
    if (faults.length > 0)
      throw new Error(`The routes are ambiguous:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
    const missing = OPERATION_NAMES.filter((operation) => !ecr.has(operation));
    if (missing.length > 0) this.logger.debug(`Not implemented yet: ${missing.join(', ')}`);
  }
}
