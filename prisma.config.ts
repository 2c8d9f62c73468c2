import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'prisma/config';

// Prisma downloads a native schema engine on first use. Where there is none (yet), the project's own bridge to the official
// WebAssembly engine serves, so that neither a build nor a migration depends on a download host.
const engines = join(import.meta.dirname, 'node_modules/@prisma/engines');
const files = existsSync(engines) ? readdirSync(engines) : [];
if (!files.some((name) => name.startsWith('schema-engine-'))) {
  process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= join(import.meta.dirname, 'scripts/schema-engine.mjs');
}

export default defineConfig({
  schema: 'prisma/schema',
  migrations: { path: 'prisma/migrations' },
  datasource: { url: process.env['DATABASE_URL'] ?? 'postgresql://localhost/stowage' },
});
