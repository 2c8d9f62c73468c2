/**
 * `npm test`: installs and builds what is missing, then runs all tests; further arguments go to jest (`npm test -- test/api`).
 *
 * The tests of the S3 store run against the server that STOWAGE_TEST_S3_ENDPOINT names (with STOWAGE_TEST_S3_ACCESS_KEY_ID and
 * STOWAGE_TEST_S3_SECRET_ACCESS_KEY), else against a MinIO found or built here. Where there is neither they are skipped aloud and
 * counted; REQUIRE_S3=1 makes that a failure.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { NODE, prepare, ROOT, toolEnvironment } from './setup.mjs';
import { findTool } from './tools.mjs';

try {
  await prepare();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

const environment = { ...toolEnvironment };
// Jest loads ES modules, which all of this project is, only with this flag.
environment.NODE_OPTIONS = `${environment.NODE_OPTIONS ?? ''} --experimental-vm-modules --disable-warning=ExperimentalWarning`;
if (!environment.STOWAGE_TEST_S3_ENDPOINT) {
  const minio = findTool('minio');
  if (minio) environment.STOWAGE_TEST_MINIO = minio;
  else if (environment.REQUIRE_S3 === '1') {
    console.error('REQUIRE_S3=1, but there is no S3 server to test with.');
    process.exit(1);
  } else
    console.error('SKIPPED: the tests of the S3 store, for want of a server. Set STOWAGE_TEST_S3_ENDPOINT.');
}

const jest = spawn(NODE, [join(ROOT, 'node_modules/jest/bin/jest.js'), ...process.argv.slice(2)], {
  cwd: ROOT,
  stdio: 'inherit',
  env: environment,
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => jest.kill(signal));
jest.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
