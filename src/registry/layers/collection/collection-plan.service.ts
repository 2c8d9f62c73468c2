import { Injectable } from '@nestjs/common';
import type { PlannedRemoval } from './collection-plan.js';
import { CollectionPlanRepository } from './collection-plan.repository.js';
import { Orphans } from './orphans.js';

/** What a collection would remove, without removing anything. */
@Injectable()
export class CollectionPlanService {
  constructor(
    private readonly plan: CollectionPlanRepository,
    private readonly orphans: Orphans,
  ) {}

  /**
   * In the order it would go. A layer somebody uses at that very moment is kept by a collection, and shown here all the same.
   * @param sweep also walks the store for objects without a row
   */
  async *removals(options: { sweep: boolean }): AsyncGenerator<PlannedRemoval> {
    yield* this.plan.uploads();
    yield* this.plan.deletedImages();
    yield* this.plan.layers();
    yield* this.plan.blobs();
    yield* this.plan.doomed();
    if (!options.sweep) return;
    for await (const objects of this.orphans.oldObjects()) {
      for (const { key, sizeBytes, modifiedAt } of await this.orphans.unknownObjects(objects))
        yield { what: 'object', key, bytes: sizeBytes, since: modifiedAt, reason: 'no row speaks of it' };
    }
    for await (const unfinished of this.orphans.oldUnfinished()) {
      for (const { staged, startedAt } of await this.orphans.unknownUnfinished(unfinished))
        yield {
          what: 'unfinished-object',
          key: String(staged['key']),
          bytes: null,
          since: startedAt,
          reason: 'no upload writes to it',
        };
    }
  }
}
