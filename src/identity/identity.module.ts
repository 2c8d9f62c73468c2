import { Global, Module } from '@nestjs/common';
import { APP_GUARD, DiscoveryModule } from '@nestjs/core';
import { CONFIG, type Config } from '../config/config.js';
import { AuthenticationGuard } from './authentication/authentication.guard.js';
import { Authenticator } from './authentication/authenticator.js';
import { AuthorizationTokenEcrController } from './authentication/authorization-token.ecr.controller.js';
import { AuthorizationGuard } from './authorization/authorization.guard.js';
import { Authorizer } from './authorization/authorizer.js';
import { RouteDeclarations } from './authorization/route-declarations.js';
import { AccessKeys } from './keys/access-keys.js';
import { PageTokens } from './page-tokens.js';
import { RegistryTokens } from './authentication/registry-tokens.js';
import { RootKey } from './keys/root-key.js';
import { SignedUrls } from './signed-urls.js';

/**
 * Who is calling and what they may do. Its guards stand before every route of the application, in this order; the hook
 * that refuses before the body is read must be registered with the HTTP server (`registerEarlyAuthentication`).
 */
@Global()
@Module({
  imports: [DiscoveryModule],
  controllers: [AuthorizationTokenEcrController],
  providers: [
    { provide: RootKey, inject: [CONFIG], useFactory: (config: Config) => RootKey.load(config) },
    AccessKeys,
    RegistryTokens,
    PageTokens,
    SignedUrls,
    Authenticator,
    Authorizer,
    RouteDeclarations,
    { provide: APP_GUARD, useClass: AuthenticationGuard },
    { provide: APP_GUARD, useClass: AuthorizationGuard },
  ],
  exports: [RootKey, AccessKeys, RegistryTokens, PageTokens, SignedUrls, Authenticator, Authorizer],
})
export class IdentityModule {}
