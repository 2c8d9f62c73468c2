import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const FORMAT = 1;
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);
/** Below the backup's folder, and nowhere else. */
const file = z.string().regex(/^[a-z0-9-]+\/[a-z0-9_.-]+$/);
const checkedFile = z.object({ file, sha256, rows: count });

/** What a backup consists of. It is written last: a folder without one holds no whole backup. */
export const backupManifest = z.object({
  application: z.literal('stowage'),
  format: z.literal(FORMAT),
  /** Release that wrote it. */
  version: z.string(),
  /** The moment everything in it is true of. */
  takenAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  store: z.object({ kind: z.enum(['filesystem', 's3']), identity: z.uuid() }),
  migrations: z.array(z.object({ name: z.string(), checksum: sha256 })),
  /** Gzipped output of COPY, in its text format. */
  tables: z.array(checkedFile.extend({ name: z.string(), columns: z.array(z.string()) })),
  sequences: z.array(z.object({ name: z.string(), lastValue: z.string().regex(/^\d+$/) })),
  layers: z.object({
    /** Whether their bytes are in the folder `layers`; else the store itself must still hold them. */
    included: z.boolean(),
    bytes: count,
    /** Gzipped lines of key, SHA-256 and size, in key order. */
    list: checkedFile,
    /** Keys of those the store did not have, or not with the right bytes, when the backup was taken. */
    missing: z.array(z.string()),
  }),
});

export type BackupManifest = z.infer<typeof backupManifest>;
export type CheckedFile = z.infer<typeof checkedFile>;
export type StoreKind = BackupManifest['store']['kind'];

export const MANIFEST_FORMAT = FORMAT;

/** Beside `src` and `dist` alike. */
export function releaseVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '../../../../package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
