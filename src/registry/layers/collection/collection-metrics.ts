import { Injectable } from '@nestjs/common';
import { Metrics } from '../../../observability/metrics.js';
import { CollectionRepository } from './collection.repository.js';

/** What the collector did in this process, and what the deployment's queues hold. */
@Injectable()
export class CollectionMetrics {
  readonly reviewed;
  readonly unlinkedLayers;
  readonly droppedBlobs;
  readonly droppedBytes;
  readonly forgottenImages;
  readonly removedObjects;
  readonly failedRemovals;

  constructor(metrics: Metrics, collection: CollectionRepository) {
    this.reviewed = metrics.counter(
      'stowage_collection_reviewed_total',
      'Entries of the queues the collector looked at',
      ['queue'],
    );
    this.unlinkedLayers = metrics.counter(
      'stowage_collection_unlinked_layers_total',
      'Layers taken out of a repository, since no image of it referenced them',
    );
    this.droppedBlobs = metrics.counter(
      'stowage_collection_dropped_blobs_total',
      'Blobs that no repository and no deleted image held any more',
    );
    this.droppedBytes = metrics.counter(
      'stowage_collection_dropped_bytes_total',
      'Bytes of the dropped blobs, which the store gets back',
    );
    this.forgottenImages = metrics.counter(
      'stowage_collection_forgotten_images_total',
      'Deleted images that can no longer be brought back',
    );
    this.removedObjects = metrics.counter(
      'stowage_collection_removed_objects_total',
      'Objects and unfinished uploads removed from the store',
      ['cause'],
    );
    this.failedRemovals = metrics.counter(
      'stowage_collection_failed_removals_total',
      'Objects the store did not remove; they are tried again later',
    );
    metrics.gauges(
      'stowage_collection_queue_length',
      'Entries the collector has yet to look at',
      'queue',
      () => collection.queueLengths(),
    );
  }
}
