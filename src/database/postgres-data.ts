import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import {
  chownTo,
  EmbeddedPostgresError,
  launch,
  type Launcher,
  type PostgresBinaries,
} from './postgres-binaries.js';
import { endInitdb } from './postgres-processes.js';

/** Who owns everything in the embedded database. */
export const USER = 'stowage';

/** Built aside and renamed into place: a kill half-way leaves nothing that looks like a database. */
export async function initialise(
  home: string,
  binaries: PostgresBinaries,
  launcher: Launcher,
): Promise<void> {
  const parent = join(home, '..');
  for (const name of fs.readdirSync(parent).filter((entry) => entry.startsWith('postgres.init-'))) {
    await endInitdb(join(parent, name));
    fs.rmSync(join(parent, name), { recursive: true, maxRetries: 5 });
  }
  if (fs.existsSync(home)) return;
  const draft = join(parent, `postgres.init-${randomUUID()}`);
  fs.mkdirSync(draft, { mode: 0o700 });
  const password = join(draft, 'password');
  fs.writeFileSync(password, randomBytes(24).toString('hex'), { mode: 0o600, flush: true });
  for (const path of [draft, password]) chownTo(launcher, path);
  const flags = ['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-instructions'];
  const command = [binaries.initdb, '-D', join(draft, 'data'), '-U', USER, '--pwfile', password, ...flags];
  const initdb = launch(launcher, command, draft, ['ignore', 'ignore', 'pipe']);
  const complaints: Buffer[] = [];
  initdb.stderr?.on('data', (chunk: Buffer) => complaints.push(chunk));
  const [code] = (await once(initdb, 'close')) as [number | null];
  if (code !== 0) {
    const complaint = Buffer.concat(complaints).toString().trim();
    throw new EmbeddedPostgresError(
      `PostgreSQL could not create its data in ${home}: ${complaint || `exit ${code}`}`,
    );
  }
  fs.renameSync(draft, home);
  syncFolder(parent);
}

function syncFolder(folder: string): void {
  const descriptor = fs.openSync(folder, 'r');
  fs.fsyncSync(descriptor);
  fs.closeSync(descriptor);
}
