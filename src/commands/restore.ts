import { resolve } from 'node:path';
import { RestoreModule } from '../registry/recovery/backup/restore.module.js';
import { BackupIncomplete, RestoreService } from '../registry/recovery/backup/restore.service.js';
import { CommandError, runCommand } from './command.js';
import { firstOf, progress } from './progress.js';
import { sizeText } from './size-text.js';

const USAGE = `Usage: npm run restore -- <folder> [--accept-missing]

Brings a backup back to an empty machine: a database without repositories, and for a backup with layers an empty store. The
service must not run. Interrupted, it can be run again.

  --accept-missing   goes on without layers that are missing or damaged; pushing one again repairs it`;

await runCommand(
  'restore',
  async (command) => {
    const { positionals, values, signal } = command;
    const [folder, ...others] = positionals;
    if (folder === undefined || others.length > 0) throw new CommandError(USAGE, 2);
    try {
      const { manifest, layers, bytes, missing, unknownObjects } = await command.get(RestoreService).restore({
        folder: resolve(folder),
        acceptMissing: values['accept-missing'] ?? false,
        signal,
        told: progress(({ layers, bytes }) => `${layers} layers restored (${sizeText(bytes)})`),
      });
      command.print(`Restored the state of ${manifest.takenAt} (release ${manifest.version})`);
      command.print(
        manifest.layers.included
          ? `Layers: ${layers} written and verified (${sizeText(bytes)})`
          : `Layers: ${layers} found in the store by name and size`,
      );
      for (const line of firstOf(20, missing)) command.print(`Missing: ${line}`);
      if (unknownObjects > 0)
        command.print(
          `${unknownObjects} objects of the store are not in the backup; the collector will remove them once its grace is over`,
        );
      command.print('Check it with npm run fsck, then start the service.');
      return 0;
    } catch (error) {
      if (error instanceof BackupIncomplete)
        for (const line of firstOf(20, error.digests)) command.print(line);
      throw error;
    }
  },
  {
    usage: USAGE,
    options: { 'accept-missing': { type: 'boolean' } },
    allowPositionals: true,
    application: RestoreModule.with.bind(RestoreModule),
  },
);
