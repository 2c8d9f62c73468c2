import { Body, Controller, Inject } from '@nestjs/common';
import type { GetAuthorizationTokenRequest, GetAuthorizationTokenResponse } from '@aws-sdk/client-ecr';
import { CONFIG, type Config } from '../../config/config.js';
import { repositoryArn } from '../../domain/arn.js';
import { EcrOperation } from '../../protocols/ecr/ecr-operation.decorator.js';
import { Authorizer } from '../authorization/authorizer.js';
import { addressedRegistry, type Caller } from '../caller.js';
import { RegistryTokens, TOKEN_USER } from './registry-tokens.js';
import { RequestCaller } from '../request-caller.decorator.js';

/** How clients of the ECR door come by a password for the OCI door. */
@Controller('ecr')
export class AuthorizationTokenEcrController {
  constructor(
    private readonly tokens: RegistryTokens,
    private readonly authorizer: Authorizer,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** One element, or one for each of the (deprecated) `registryIds`. */
  @EcrOperation('GetAuthorizationToken', { resources: () => ['*'] })
  async getAuthorizationToken(
    @Body() input: GetAuthorizationTokenRequest,
    @RequestCaller() caller: Caller,
  ): Promise<GetAuthorizationTokenResponse> {
    const registryIds = input.registryIds ?? [caller.principal.accountId];
    for (const id of registryIds) await this.assertOpenTo(caller, id);
    const { password, expiresAt } = this.tokens.issue(caller);
    const authorizationToken = Buffer.from(`${TOKEN_USER}:${password}`).toString('base64');
    // As configured, not as called: behind a proxy the called address need not be one that others reach.
    const proxyEndpoint = this.config.STOWAGE_PUBLIC_URL.replace(/\/+$/, '');
    return { authorizationData: registryIds.map(() => ({ authorizationToken, expiresAt, proxyEndpoint })) };
  }

  private async assertOpenTo({ principal, region }: Caller, registryId: string): Promise<void> {
    if (registryId === principal.accountId) return;
    const registry = addressedRegistry({ principal, region }, registryId);
    await this.authorizer.authorize(principal, 'ecr:GetAuthorizationToken', repositoryArn(registry, '*'));
  }
}
