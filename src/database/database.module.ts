import { Global, Module } from '@nestjs/common';
import { CONFIG } from '../config/config.js';
import { JobsPrismaService } from './jobs-prisma.service.js';
import { PostgresServer } from './postgres-server.js';
import { PrismaService } from './prisma.service.js';

/** The book of records. Its providers are ready once the application is created: the database runs and is migrated. */
@Global()
@Module({
  providers: [
    { provide: PostgresServer, inject: [CONFIG], useFactory: PostgresServer.open.bind(PostgresServer) },
    PrismaService,
    JobsPrismaService,
  ],
  exports: [PostgresServer, PrismaService, JobsPrismaService],
})
export class DatabaseModule {}
