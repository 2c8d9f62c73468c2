import { Injectable } from '@nestjs/common';
import type { Fault, Inspection } from './finding.js';
import { type Counters, RecordsRepository } from './records.repository.js';

const PAGE = 200;

/** What quotas are held against, recounted from the rows. */
@Injectable()
export class CounterCheck {
  constructor(private readonly records: RecordsRepository) {}

  async *faults({ signal, tally }: Inspection): AsyncGenerator<Fault> {
    for (let after = 0n; ;) {
      signal.throwIfAborted();
      const page = await this.records.countedRepositories(after, PAGE);
      if (page.length === 0) break;
      after = page.at(-1)!.id;
      tally.repositories += page.length;
      for (const { id, repositoryArn, counted, actual } of page) {
        if (inWords(counted) === inWords(actual)) continue;
        yield {
          finding: {
            kind: 'repository-counters',
            what: `The repository counts ${inWords(counted)}, and has ${inWords(actual)}`,
            repositories: [repositoryArn],
            repair: 'counts anew',
          },
          mend: () => this.records.recount(id),
        };
      }
    }
    for (const { id, accountId, region, counted, actual } of await this.records.miscountedRegistries())
      yield {
        finding: {
          kind: 'registry-counter',
          what: `The registry ${accountId} in ${region} counts ${counted} repositories, and has ${actual}`,
          repair: 'counts anew',
        },
        mend: () => this.records.recountRegistry(id),
      };
  }
}

function inWords({ images, bytes, uploads }: Counters): string {
  return `${images} images, ${bytes} bytes of layers, ${uploads} open uploads`;
}
