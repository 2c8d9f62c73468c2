import { Module } from '@nestjs/common';
import { RootKeyBinding } from './root-key-binding.js';
import { RootKeyRepository } from './root-key.repository.js';

/** What binds the root key to the database; apart from the rest of identity, which needs none to know a caller by that key. */
@Module({ providers: [RootKeyRepository, RootKeyBinding] })
export class RootKeyModule {}
