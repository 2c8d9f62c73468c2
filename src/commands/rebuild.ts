import type { KeptOutImage } from '../registry/recovery/rebuild/rebuild.repository.js';
import { RebuildModule } from '../registry/recovery/rebuild/rebuild.module.js';
import { LayersMissing, RebuildService } from '../registry/recovery/rebuild/rebuild.service.js';
import { runCommand } from './command.js';
import { firstOf, progress } from './progress.js';
import { sizeText } from './size-text.js';

const USAGE = `Usage: npm run rebuild [-- --accept-missing]

Makes a new database from what the blob store holds, for the case that the old one is lost and there is no better backup: layers
by hashing every object, all else from the copy of the records. The database must be empty and the service must not run.
Interrupted, it can be run again.

  --accept-missing   leaves out images whose layers are not there`;

await runCommand(
  'rebuild',
  async (command) => {
    const { values, signal } = command;
    try {
      const rebuilt = await command.get(RebuildService).rebuild({
        signal,
        acceptMissing: values['accept-missing'] ?? false,
        told: progress(
          ({ objects, bytes, skipped }) =>
            `${objects + skipped} objects indexed, ${sizeText(bytes)} hashed by this run`,
        ),
      });
      const { layers, repositories, images, tags, keptOut, looseLayers, unfinishedUploads } = rebuilt;
      command.print(`Rebuilt ${repositories} repositories, ${images} images, ${tags} tags`);
      command.print(
        `Layers: ${layers.objects} hashed (${sizeText(layers.bytes)}), ${layers.skipped} hashed before, ${layers.spare} spare`,
      );
      for (const line of firstOf(1_000, keptOut.map(lineOf))) command.print(`Left out: ${line}`);
      if (looseLayers.length > 0)
        command.print(
          `${looseLayers.length} layers are of no image; the collector will remove them once its grace is over:`,
        );
      const loose = looseLayers.map(({ sha256, sizeBytes }) => `sha256:${sha256} ${sizeText(sizeBytes)}`);
      for (const line of firstOf(100, loose)) command.print(`  ${line}`);
      if (unfinishedUploads > 0)
        command.print(`${unfinishedUploads} uploads were never finished, and begin again`);
      command.print('Check it with npm run fsck, then start the service.');
      return 0;
    } catch (error) {
      if (error instanceof LayersMissing)
        for (const line of firstOf(1_000, error.images.map(lineOf))) command.print(line);
      throw error;
    }
  },
  {
    usage: USAGE,
    options: { 'accept-missing': { type: 'boolean' } },
    application: RebuildModule.with.bind(RebuildModule),
  },
);

function lineOf({ accountId, region, repository, digest, tags, missing }: KeptOutImage): string {
  const tagged = tags.length > 0 ? ` (${tags.join(', ')})` : '';
  return `${accountId}/${region}/${repository}@${digest}${tagged}: without ${missing.join(', ')}`;
}
