import { loadConfig } from '../../src/config/config.js';
import { PostgresServer } from '../../src/database/postgres-server.js';
import { PrismaService } from '../../src/database/prisma.service.js';
import type { TestEnvironment } from '../support/test-environment.js';

/** The database of a deployment as it stands, asked past every replica. */
export interface Records {
  prisma: PrismaService;
  /** UploadLayerPart calls recorded for an upload that is still open. */
  partsOf(uploadId: string): Promise<number>;
  /** Objects of the store that some row names for this layer, those that are to be removed included. */
  objectsOf(digest: string): Promise<number>;
  close(): Promise<void>;
}

export function openRecords(environment: TestEnvironment): Records {
  const { DATABASE_URL: url } = environment.settings;
  if (!url) throw new Error('The deployment has no database of its own');
  const prisma = new PrismaService(new PostgresServer(url), loadConfig(environment.settings));
  return {
    prisma,
    partsOf: (uploadId) => prisma.uploadPart.count({ where: { uploadId } }),
    async objectsOf(digest) {
      const blobs = await prisma.blob.count({ where: { sha256: digest.replace('sha256:', '') } });
      return blobs + (await prisma.doomedObject.count());
    },
    close: () => prisma.onApplicationShutdown(),
  };
}
