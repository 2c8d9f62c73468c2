import { type PlannedRemoval } from '../registry/layers/collection/collection-plan.js';
import { CollectionPlanService } from '../registry/layers/collection/collection-plan.service.js';
import { CollectionService } from '../registry/layers/collection/collection.service.js';
import { type Command, runCommand } from './command.js';
import { sizeText } from './size-text.js';

const USAGE = `Usage: npm run collect -- [--dry-run] [--json] [--skip-sweep]

Collects garbage now, as the service does in the background: uploads nobody continues, deleted images past their
time to be brought back, layers no image references, blobs nothing holds, and their objects. Then it walks the
store for objects without a row. Stop it at any time with Ctrl-C.

  --dry-run     removes nothing; prints what would go, since when it is due, and why
  --json        one JSON document per line; the last one holds the totals
  --skip-sweep  leaves out the walk over the store`;

const options = {
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
  'skip-sweep': { type: 'boolean' },
} as const;

await runCommand('collect', (command) => (command.values['dry-run'] ? show(command) : collect(command)), {
  usage: USAGE,
  options,
});

async function collect({ get, signal, print, values }: Command<typeof options>): Promise<number> {
  const service = get(CollectionService);
  const collected = await service.collect(signal);
  const swept = values['skip-sweep'] || signal.aborted ? null : await service.sweep(signal);
  if (values.json) {
    print(JSON.stringify({ totals: { ...collected, ...swept } }));
  } else {
    print(`Uploads that expired: ${collected.expiredUploads}`);
    print(`Deleted images forgotten: ${collected.forgottenImages}`);
    print(`Layers unlinked from a repository: ${collected.unlinkedLayers}`);
    print(`Blobs nothing holds: ${collected.unseenBlobs} (${sizeText(collected.freedBytes)})`);
    print(`Objects removed from the store: ${collected.removedObjects}`);
    if (swept)
      print(
        `Objects without a row removed: ${swept.orphanedObjects}, unfinished: ${swept.unfinishedObjects}`,
      );
    if (collected.objectsKept || swept?.objectsKept)
      print('Objects were kept, since a backup or another collection runs. They go in a later run.');
  }
  return 0;
}

async function show({ get, signal, print, values }: Command<typeof options>): Promise<number> {
  const totals = new Map<PlannedRemoval['what'], { count: number; bytes: number }>();
  for await (const removal of get(CollectionPlanService).removals({ sweep: !values['skip-sweep'] })) {
    if (signal.aborted) return 130;
    print(values.json ? JSON.stringify(removal) : lineOf(removal));
    const total = totals.get(removal.what) ?? { count: 0, bytes: 0 };
    totals.set(removal.what, { count: total.count + 1, bytes: total.bytes + (removal.bytes ?? 0) });
  }
  if (values.json) {
    print(JSON.stringify({ totals: Object.fromEntries(totals) }));
    return 0;
  }
  if (totals.size === 0) print('Nothing would be removed.');
  for (const [what, { count, bytes }] of totals) print(`total ${what}: ${count} (${sizeText(bytes)})`);
  return 0;
}

function lineOf({
  what,
  registry,
  repository,
  digest,
  upload,
  key,
  bytes,
  since,
  reason,
}: PlannedRemoval): string {
  const place = [registry, repository, digest, upload, key].filter((part) => part !== undefined).join(' ');
  const size = bytes === null ? '' : ` (${sizeText(bytes)})`;
  return `${what} ${place}${size} since ${since.toISOString()}: ${reason}`;
}
