import { RootKeyBinding } from '../identity/keys/root-key-binding.js';
import { runCommand } from './command.js';

const USAGE = `Usage: npm run root-key -- [--accept]

Tells which root key the database is used with, and whether it is the one given here: by STOWAGE_ROOT_ACCESS_KEY_ID
and STOWAGE_ROOT_SECRET_ACCESS_KEY, or by the file "credentials" in the data folder. Ends with 1 when it is not.

  --accept  from now on, processes start with the key given here, and with no other. Stop all processes first:
            those that run keep the key they have. Every login token and download URL ends with the old key.`;

await runCommand(
  'root-key',
  async ({ get, print, values }) => {
    const binding = get(RootKeyBinding);
    if (values.accept) await binding.acceptOnly();
    const accepted = await binding.accepted();
    if (accepted.length === 0) print('The database has not been used with any root key yet.');
    for (const { accessKeyId, acceptedAt } of accepted)
      print(`Used with: ${accessKeyId}, since ${acceptedAt.toISOString()}`);
    const fits = accepted.length === 0 || binding.isAmong(accepted);
    print(`The key given here (${binding.source}) is ${fits ? 'accepted' : 'another one'}.`);
    return fits ? 0 : 1;
  },
  { usage: USAGE, options: { accept: { type: 'boolean' } }, failureCode: 2 },
);
