import { join } from 'node:path';
import { Global, Module } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { waitFor } from '../config/startup-patience.js';
import { BLOB_STORE, type BlobStore, OPEN_LAYER_FOLDER, type OpenLayerFolder } from './blob-store.js';
import { ByteBudget } from './byte-budget.js';
import { FilesystemBlobStore } from './filesystem.blob-store.js';
import { S3BlobStore } from './s3.blob-store.js';

const openLayerFolder: OpenLayerFolder = (folder) => new FilesystemBlobStore(folder);

@Global()
@Module({
  providers: [
    {
      provide: ByteBudget,
      inject: [CONFIG],
      useFactory: (config: Config) => new ByteBudget(config.STOWAGE_MAX_BYTES_IN_FLIGHT),
    },
    { provide: OPEN_LAYER_FOLDER, useValue: openLayerFolder },
    { provide: BLOB_STORE, inject: [CONFIG, ByteBudget], useFactory: openBlobStore },
  ],
  exports: [BLOB_STORE, OPEN_LAYER_FOLDER, ByteBudget],
})
export class BlobStoreModule {}

async function openBlobStore(config: Config, budget: ByteBudget): Promise<BlobStore> {
  if (config.s3) {
    const store = new S3BlobStore(config.s3, budget, config.STOWAGE_S3_TIMEOUT_SECONDS);
    await waitFor('S3 store', () => store.prepare());
    return store;
  }
  const store = new FilesystemBlobStore(join(config.dataDir, 'layers'));
  await store.check();
  return store;
}
