import { join, relative } from 'node:path';
import type { Config } from './config/config.js';

/** What a person at a terminal wants to know first; never a secret. Processes without a terminal have their log. */
export function greet(config: Config): void {
  if (config.STOWAGE_ROLE === 'worker') return;
  const url = config.STOWAGE_PUBLIC_URL.replace(/\/$/, '');
  const host = url.replace(/^https?:\/\//, '');
  const file = join(config.dataDir, 'credentials');
  const shown = relative(process.cwd(), file);
  const credentials = config.rootKey ? 'the environment (STOWAGE_ROOT_ACCESS_KEY_ID)' : file;
  const profile = config.rootKey
    ? ''
    : `AWS_SHARED_CREDENTIALS_FILE=${shown.startsWith('..') ? file : shown} `;
  const aws = `${profile}aws --endpoint-url ${url} --region ${config.STOWAGE_REGION} ecr`;
  process.stdout.write(
    [
      '',
      `  Stowage serves ${url}`,
      `  Credentials: ${credentials}`,
      '',
      `  ${aws} create-repository --repository-name demo`,
      `  ${aws} get-login-password | docker login --username AWS --password-stdin ${host}`,
      '  npm run demo',
      '',
      '',
    ].join('\n'),
  );
}
