import { layerParts, pushToDisk, pushToMinio } from './layers.mjs';
import { longLayersOnDisk, longLayersOnMinio } from './long-layers.mjs';
import { manyImages } from './many-images.mjs';
import { pullFromDisk, pullRedirected } from './pulls.mjs';
import { blobHead, manifestByTag } from './requests.mjs';
import { statementsPerCall } from './statements.mjs';
import { imagesIntoOneRepository, smallBlobsOnDisk, smallBlobsOnMinio } from './small-pushes.mjs';

/** In the order they are run. */
export const scenarios = {
  pushToMinio,
  layerParts,
  pushToDisk,
  pullRedirected,
  pullFromDisk,
  manifestByTag,
  blobHead,
  smallBlobsOnMinio,
  smallBlobsOnDisk,
  imagesIntoOneRepository,
  longLayersOnDisk,
  longLayersOnMinio,
  manyImages,
  statementsPerCall,
};
