import { expect, it } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtTool, describeWhere, runProgram } from '../support/programs.js';
import { createRepository } from '../support/pushes.js';
import { startRegistry } from '../support/registry.js';
import { describeEachStore, storeUnderAnotherName } from '../support/stores.js';

/** Every switch of the suite, so that none is off because its default is. */
const SWITCHES = {
  API: `
    PING PULL PUSH REFERRER TAGS_ATOMIC TAGS_DELETE TAGS_LIST
    BLOBS_ATOMIC BLOBS_DELETE BLOBS_DIGEST_HEADER BLOBS_MOUNT_ANONYMOUS BLOBS_UPLOAD_CANCEL
    MANIFESTS_ATOMIC MANIFESTS_DELETE MANIFESTS_DIGEST_HEADER MANIFESTS_TAG_PARAM`,
  // SPARSE is missing: an index whose images are not there is refused, as ECR does.
  DATA: `
    IMAGE INDEX INDEX_LIST ARTIFACT SUBJECT SUBJECT_MISSING ARTIFACT_LIST SUBJECT_LIST
    DATA_FIELD NONDISTRIBUTABLE CUSTOM_FIELDS NO_LAYERS EMPTY_BLOB SHA512`,
};

const switches = Object.entries(SWITCHES).flatMap(([group, names]) =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => [`OCI_${group}_${name}`, 'true']),
);

// The last word of a redirected pull is the store's, and S3 cannot be told to send this header.
const withoutDigestHeader = switches.filter(([name]) => name !== 'OCI_API_BLOBS_DIGEST_HEADER');

const suite = builtTool('conformance');

describeWhere(
  suite !== undefined,
  'the OCI distribution conformance suite',
  'Go to build it with',
  () =>
    describeEachStore('over all its APIs and data', (store) => {
      // Only a store with addresses of its own has two ways to deliver.
      const deliveries = store === 's3' ? (['stream', 'redirect'] as const) : (['stream'] as const);
      it.each(deliveries)(
        'passes whole, behind authentication: pulls by %s',
        async (delivery) => {
          const registry = await startRegistry({
            store,
            config: { STOWAGE_BLOB_DELIVERY: delivery, ...storeUnderAnotherName(store) },
          });
          const folder = await mkdtemp(join(tmpdir(), 'stowage-conformance-'));
          try {
            const password = Buffer.from(registry.token, 'base64').toString().replace(/^AWS:/, '');
            const output = await runProgram(suite!, [], {
              cwd: folder,
              env: {
                ...Object.fromEntries(delivery === 'stream' ? switches : withoutDigestHeader),
                OCI_DATA_SPARSE: 'false',
                OCI_REGISTRY: new URL(registry.url).host,
                OCI_TLS: 'disabled',
                OCI_USERNAME: 'AWS',
                OCI_PASSWORD: password,
                OCI_REPO1: await createRepository(registry.ecr, { repositoryName: 'conformance/one' }),
                OCI_REPO2: await createRepository(registry.ecr, { repositoryName: 'conformance/two' }),
                OCI_RESULTS_DIR: folder,
              },
            }).catch((error: Error) => error.message);
            const results = await readResults(folder).catch(() => {
              throw new Error(`The suite left no results:\n${output}`);
            });
            process.stdout.write(
              `OCI conformance (${store}, ${delivery}): ${results.tests} tests, ${results.failed} failed, ${results.skipped} skipped\n`,
            );
            expect({ ...results, output: results.failed > 0 ? output.slice(-8000) : '' }).toEqual({
              tests: expect.any(Number),
              failed: 0,
              skipped: 0,
              output: '',
              notPassed: ['Sparse Manifests: Disabled'],
            });
            // As many as the pinned version has with these switches; fewer mean that some were not run.
            expect(results.tests).toBeGreaterThanOrEqual(986);
          } finally {
            await registry.close();
            await rm(folder, { recursive: true, force: true });
          }
        },
        180_000,
      );
    }),
  'REQUIRE_CONFORMANCE',
);

/** From junit.xml the count of tests, from results.yaml the verdict on each API and kind of data. */
async function readResults(folder: string) {
  const junit = await readFile(join(folder, 'junit.xml'), 'utf8');
  const yaml = await readFile(join(folder, 'results.yaml'), 'utf8');
  const verdicts = yaml
    .slice(yaml.search(/^apis:$/m))
    .split('\n')
    .filter((line) => /^ {2}\S/.test(line));
  const total = (attribute: string) =>
    Number(new RegExp(`<testsuites\\b[^>]* ${attribute}="(\\d+)"`).exec(junit)?.[1] ?? 0);
  return {
    tests: total('tests'),
    failed: total('failures') + total('errors'),
    // The suite keeps no total of these.
    skipped: junit.match(/<testcase [^>]*status="skipped"/g)?.length ?? 0,
    notPassed: verdicts.map((line) => line.trim()).filter((line) => !line.endsWith(': Pass')),
  };
}
