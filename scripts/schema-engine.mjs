#!/usr/bin/env node
/**
 * Stands in for Prisma's native schema engine where that cannot be downloaded: the same JSON-RPC over stdio, answered by the
 * official WebAssembly build of the engine (@prisma/schema-engine-wasm) through @prisma/adapter-pg. `prisma.config.ts`
 * chooses it. Needs a reachable database even for a diff of two schema files.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

/** Column type number 6 of @prisma/driver-adapter-utils: Character. */
const CHARACTER = 6;
const OID_CHAR = 18;
const OID_TEXT = 25;
const NOWHERE = 'postgresql://nobody@127.0.0.1:1/nothing';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  strict: false,
  options: {
    version: { type: 'boolean' },
    datamodels: { type: 'string', multiple: true },
    datasource: { type: 'string' },
  },
});

if (flags.version) {
  console.log('schema-engine-cli webassembly');
  process.exit(0);
}

const url = flags.datasource ? JSON.parse(flags.datasource).url : undefined;
if (positionals[0] === 'cli') await runCommand(positionals[1]);
else await serve();

/** `cli can-connect-to-database` and `cli create-database`, which the Prisma CLI calls before the JSON-RPC. */
async function runCommand(command) {
  const { default: pg } = await import('pg');
  const database = decodeURIComponent(new URL(url).pathname.slice(1));
  try {
    if (command === 'can-connect-to-database') {
      await withClient(pg, url, () => undefined);
    } else if (command === 'create-database') {
      await withClient(pg, inDatabase(url, 'postgres'), (client) =>
        client.query(`CREATE DATABASE ${client.escapeIdentifier(database)}`),
      );
      console.log(`Database '${database}' was successfully created.`);
    } else {
      fail('P0000', `The command ${command} is not supported.`);
    }
  } catch (error) {
    if (error.code === '3D000') fail('P1003', `Database \`${database}\` does not exist`);
    fail(error.code === '28P01' ? 'P1000' : 'P1001', error.message || error.code || String(error));
  }
}

/** The Prisma CLI reads JSON lines from stderr and drops the first of them. */
function fail(code, message) {
  console.error(
    JSON.stringify({ level: 'INFO', fields: { message: 'schema-engine' }, target: 'schema_engine' }),
  );
  console.error(
    JSON.stringify({
      timestamp: new Date().toISOString(),
      level: 'ERROR',
      fields: { message, error_code: code, is_panic: false },
      target: 'schema_engine::logger',
    }),
  );
  process.exit(1);
}

async function serve() {
  const runtime = await loadRuntime();
  const adapterFactory = await migrationAdapter(url ?? NOWHERE);
  const datamodels = (flags.datamodels ?? []).map((path) => [path, readFileSync(path, 'utf8')]);
  let engine;
  let queue = Promise.resolve();
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (!request.method) continue; // the CLI's answer to our own `print`
    queue = queue.then(async () => {
      const reply = { jsonrpc: '2.0', id: request.id };
      try {
        engine ??= await runtime.SchemaEngine.new(
          { datamodels: datamodels.length > 0 ? datamodels : undefined },
          (entry) => console.error(entry),
          adapterFactory,
        );
        const method = request.method === 'getDatabaseVersion' ? 'version' : request.method;
        const result = await engine[method](request.params);
        if (request.method === 'diff' && result?.stdout != null) {
          await send({
            jsonrpc: '2.0',
            id: 1e6 + request.id,
            method: 'print',
            params: { content: result.stdout },
          });
        }
        reply.result = result ?? {};
      } catch (error) {
        reply.error = {
          code: 4466,
          message: 'An error happened. Check the data field for details.',
          data: {
            is_panic: false,
            message: error.message ?? String(error),
            error_code: error.code,
            meta: error.meta,
          },
        };
      }
      await send(reply);
    });
  }
  await queue;
  process.exit(0);
}

function send(message) {
  return new Promise((resolve) => process.stdout.write(`${JSON.stringify(message)}\n`, resolve));
}

async function loadRuntime() {
  const entry = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const runtime = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  globalThis.PRISMA_WASM_PANIC_REGISTRY = {
    set_message: (message) => console.error(JSON.stringify({ level: 'ERROR', fields: { message } })),
  };
  const module = new WebAssembly.Module(readFileSync(join(dirname(entry), 'schema_engine_bg.wasm')));
  const instance = new WebAssembly.Instance(module, { './schema_engine_bg.js': runtime });
  runtime.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  return runtime;
}

async function migrationAdapter(connectionString) {
  const { PrismaPg } = await import('@prisma/adapter-pg');
  const { bindMigrationAwareSqlAdapterFactory } = await import('@prisma/driver-adapter-utils');
  const { default: pg } = await import('pg');
  const factory = new PrismaPg({ connectionString, max: 1 });
  const connect = factory.connect.bind(factory);
  factory.connect = async () => suitEngine(await connect());
  // The adapter's own shadow database is the main one when a connection string is given: that string wins over the name.
  factory.connectToShadowDb = async () => {
    const name = `prisma_migrate_shadow_db_${crypto.randomUUID()}`;
    await withClient(pg, connectionString, (client) => client.query(`CREATE DATABASE "${name}"`));
    const shadow = new PrismaPg({ connectionString: inDatabase(connectionString, name), max: 1 });
    const adapter = suitEngine(await shadow.connect());
    const dispose = adapter.dispose.bind(adapter);
    adapter.dispose = async () => {
      await dispose();
      await withClient(pg, connectionString, (client) =>
        client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`),
      );
    };
    return adapter;
  };
  return bindMigrationAwareSqlAdapterFactory(factory);
}

/** Two things the engine needs and the adapter does not do: columns of the internal type "char", and scripts run whole. */
function suitEngine(adapter) {
  const performIO = adapter.performIO.bind(adapter);
  const queryRaw = adapter.queryRaw.bind(adapter);
  let charColumns = [];
  adapter.performIO = async (query) => {
    const result = await performIO(query);
    charColumns = [];
    for (const [index, field] of (result.fields ?? []).entries()) {
      if (field.dataTypeID !== OID_CHAR) continue;
      field.dataTypeID = OID_TEXT;
      charColumns.push(index);
    }
    return result;
  };
  adapter.queryRaw = async (query) => {
    const result = await queryRaw(query);
    for (const index of charColumns) result.columnTypes[index] = CHARACTER;
    return result;
  };
  adapter.executeScript = async (script) => {
    try {
      await adapter.underlyingDriver().query(script);
    } catch (error) {
      adapter.onError(error);
    }
  };
  return adapter;
}

async function withClient(pg, connectionString, work) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function inDatabase(connectionString, database) {
  const target = new URL(connectionString);
  target.pathname = `/${database}`;
  return target.toString();
}
