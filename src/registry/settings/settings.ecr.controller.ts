import { Body, Controller } from '@nestjs/common';
import type { DescribeRegistryRequest, DescribeRegistryResponse } from '@aws-sdk/client-ecr';
import type { Caller } from '../../identity/caller.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import { EcrOperation } from '../../protocols/ecr/ecr-operation.decorator.js';

/** The registry itself. Replication cannot be configured yet, so its rules are empty, as in a registry that has none. */
@Controller('ecr')
export class SettingsEcrController {
  @EcrOperation('DescribeRegistry')
  describeRegistry(
    @Body() _input: DescribeRegistryRequest,
    @RequestCaller() caller: Caller,
  ): DescribeRegistryResponse {
    return { registryId: caller.principal.accountId, replicationConfiguration: { rules: [] } };
  }
}
