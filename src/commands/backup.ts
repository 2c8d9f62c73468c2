import { resolve } from 'node:path';
import { BackupService } from '../registry/recovery/backup/backup.service.js';
import { CommandError, runCommand } from './command.js';
import { firstOf, progress } from './progress.js';
import { sizeText } from './size-text.js';

const USAGE = `Usage: npm run backup -- <folder> [--layers | --no-layers]

Writes the registry as it is now into the folder, while it is used. A second backup into the same folder copies only the layers
that are new.

  --layers      with the bytes of the layers (the default where they are files)
  --no-layers   without them (the default for S3: the bucket must outlive the database, or have a copy of its own)`;

const INCOMPLETE = 3;

await runCommand(
  'backup',
  async (command) => {
    const { config, positionals, values, signal } = command;
    const [folder, ...others] = positionals;
    if (folder === undefined || others.length > 0 || (values.layers && values['no-layers']))
      throw new CommandError(USAGE, 2);
    const layers = values.layers ?? !(values['no-layers'] ?? config.s3 !== null);
    const { manifest, copies, removed } = await command.get(BackupService).backup({
      folder: resolve(folder),
      layers,
      signal,
      told: progress(
        ({ copied, kept, bytes }) => `${copied} layers copied (${sizeText(bytes)}), ${kept} there already`,
      ),
    });
    const rows = manifest.tables.reduce((sum, table) => sum + table.rows, 0);
    command.print(`Backup of ${manifest.takenAt} in ${resolve(folder)}: ${rows} rows`);
    if (copies)
      command.print(
        `Layers: ${copies.copied} copied (${sizeText(copies.bytes)}), ${copies.kept} there already, ${removed} removed`,
      );
    else command.print(`Layers: not included; the store must keep its ${manifest.layers.list.rows} objects`);
    const { missing } = manifest.layers;
    if (missing.length === 0) return 0;
    command.print(
      `${missing.length} layers are missing in the store, or have other bytes; run npm run fsck:`,
    );
    for (const line of firstOf(20, missing)) command.print(`  ${line}`);
    return INCOMPLETE;
  },
  {
    usage: USAGE,
    options: { layers: { type: 'boolean' }, 'no-layers': { type: 'boolean' } },
    allowPositionals: true,
  },
);
