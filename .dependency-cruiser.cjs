/** The house rules about who may know whom, checked by `npm run lint`. */
const CAPABILITIES = [
  'settings',
  'quotas',
  'repositories',
  'layers',
  'images',
  'integrity',
  'recovery',
  'policies',
  'lifecycle',
  'scanning',
  'signing',
  'replication',
  'pull-through-cache',
];
/** The last five stand side by side: none of them may know another. */
const SIDE_BY_SIDE = CAPABILITIES.indexOf('lifecycle');

/** What stands to the right of a capability, or beside it. */
function notLeftOf(capability) {
  const index = CAPABILITIES.indexOf(capability);
  return CAPABILITIES.slice(Math.min(index + 1, SIDE_BY_SIDE)).filter((other) => other !== capability);
}

const folder = (name) => `^src/${name}/`;
const SPEC = '\\.spec\\.ts$';

const rules = [
  {
    name: 'no-circular',
    comment: 'Files that need each other are one file, or a third one is missing.',
    from: {},
    to: { circular: true },
  },
  {
    name: 'domain-knows-nobody',
    comment: 'The words everyone uses: no other folder, no packages.',
    from: { path: folder('domain'), pathNot: SPEC },
    to: { pathNot: folder('domain') },
  },
  {
    name: 'technical-parts-do-not-know-the-registry',
    comment: 'Protocols, identity, jobs and stores serve any capability, and know none.',
    from: { path: '^src/(protocols|identity|jobs|blob-store|database|observability|config|domain)/' },
    to: { path: folder('registry') },
  },
  {
    name: 'cellars-do-not-know-the-doors',
    comment: 'Bytes, records and jobs are there however clients speak and whoever they are.',
    from: { path: '^src/(blob-store|database|jobs|config)/' },
    to: { path: '^src/(protocols|identity)/' },
  },
  {
    name: 'services-do-not-know-the-doors',
    comment:
      'Rules and rows hold for both doors alike: what a protocol is made of stays in controllers and modules.',
    from: { path: '^src/registry/.*\\.(service|repository)\\.ts$' },
    to: { path: folder('protocols') },
  },
  {
    name: 'controllers-ask-services',
    comment: 'A controller maps a request to a service, and never reaches past it.',
    from: { path: '\\.controller\\.ts$' },
    to: { path: ['^src/(database|blob-store)/', '\\.repository\\.ts$'] },
  },
  {
    name: 'rows-are-the-repositories-business',
    comment:
      'The tables are read and written by *.repository.ts; a service may open the transaction around them.',
    from: {
      path: folder('registry'),
      pathNot: ['\\.repository\\.ts$', '\\.module\\.ts$', '\\.job\\.ts$', SPEC],
    },
    to: { path: '^src/database/', pathNot: '^src/database/(transaction|database-errors)\\.ts$' },
  },
  {
    name: 'stores-by-interface',
    comment: 'Whether layers are files or objects is decided in blob-store.module.ts, and seen nowhere else.',
    from: { path: '^src/', pathNot: '^src/blob-store/' },
    to: { path: '^src/blob-store/.*\\.blob-store\\.ts$' },
  },
  {
    name: 'other-capabilities-by-their-service',
    comment: "Another capability's rows, doors and jobs are its own business; one may ask its service.",
    from: { path: '^src/registry/([^/]+)/', pathNot: SPEC },
    to: { path: '\\.(repository|controller|job)\\.ts$', pathNot: '^src/registry/$1/' },
  },
  ...CAPABILITIES.filter((capability) => notLeftOf(capability).length > 0).map((capability) => ({
    name: `${capability}-knows-only-leftwards`,
    comment: 'Capabilities stand in one order; what must flow the other way is an event in the database.',
    from: { path: folder(`registry/${capability}`) },
    to: { path: `^src/registry/(${notLeftOf(capability).join('|')})/` },
  })),
  {
    name: 'sdk-types-stop-at-the-controller',
    comment: "The shapes of the ECR API are the doors' language; services speak the words of src/domain.",
    from: { path: '^src/', pathNot: ['\\.ecr\\.controller\\.ts$', folder('protocols'), SPEC] },
    to: { path: 'node_modules/@aws-sdk/client-ecr/' },
  },
  {
    name: 's3-stops-at-its-driver',
    comment: 'Everybody else knows a BlobStore.',
    from: { path: '^src/', pathNot: '^src/blob-store/' },
    to: { path: 'node_modules/@aws-sdk/(client-s3|s3-request-presigner)/' },
  },
  {
    name: 'development-packages-stay-out',
    comment: 'What is not in the image cannot be imported by what runs in it.',
    from: { path: '^src/', pathNot: SPEC },
    to: { dependencyTypes: ['npm-dev'] },
  },
  {
    name: 'policies-are-pure',
    comment:
      'The policy language decides by what it is given: no framework, no database, no clock, no settings.',
    from: { path: folder('identity/policies'), pathNot: SPEC },
    to: { pathNot: [folder('identity/policies'), folder('domain'), '^net$'] },
  },
  {
    name: 'the-oracle-of-policies-stays-in-test',
    comment: 'It is AGPL: nothing under src imports it, its specs included.',
    from: { path: '^src/' },
    to: { path: 'node_modules/@cloud-copilot/' },
  },
  {
    name: 'everything-resolves',
    comment: 'An import that is not found fails at start.',
    from: { path: '^src/' },
    to: { couldNotResolve: true },
  },
];

module.exports = {
  forbidden: rules.map((rule) => ({ severity: 'error', ...rule })),
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/database/generated/' },
    // TypeScript 7 has no API for tools; swc reads the imports.
    parser: 'swc',
    tsPreCompilationDeps: true,
    moduleSystems: ['es6'],
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
    },
  },
};
