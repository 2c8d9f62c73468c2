import 'reflect-metadata';
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import type { Abstract, DynamicModule, INestApplicationContext, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from '../app.module.js';
import { type Config, ConfigError, loadConfig } from '../config/config.js';
import { DataDirInUseError } from '../database/data-dir-lock.js';
import { MigrationError } from '../database/migrate.js';
import { EmbeddedPostgresError } from '../database/postgres-binaries.js';
import { PoolerError } from '../database/sessions.js';
import { RegistryError } from '../domain/registry-error.js';
import { RecoveryError } from '../registry/recovery/recovery-error.js';
import { TerminalLogger } from './terminal-logger.js';

/** What a command accepts behind its name, in the terms of `node:util` parseArgs, and the text that explains it. */
export interface Syntax<Options extends ParseArgsOptionsConfig = ParseArgsOptionsConfig> {
  /** Shown for `--help`, and behind a complaint about the arguments. */
  usage: string;
  options: Options;
  allowPositionals?: boolean;
  /** Exit code of anything that failed, where 1 says something else. */
  failureCode?: number;
  /** What to run in place of the whole application, which starts only on a database and a store that belong together. */
  application?: (config: Config) => DynamicModule;
}

type Values<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: Options; strict: true; allowPositionals: true }>
>['values'];

export interface Command<Options extends ParseArgsOptionsConfig = ParseArgsOptionsConfig> {
  /** Any provider of the application. */
  get: <Provider>(token: Type<Provider> | Abstract<Provider> | string | symbol) => Provider;
  config: Config;
  /** Aborted by the first SIGINT or SIGTERM: stop at the next safe point. */
  signal: AbortSignal;
  /** Writes one line to stdout, where nothing else is written. */
  print: (line: string) => void;
  /** As they were given. */
  args: string[];
  /** The same, parsed by the syntax. */
  values: Values<Options>;
  positionals: string[];
}

/** A refusal whose message says all: shown without a stack. */
export class CommandError extends Error {
  constructor(
    message: string,
    readonly exitCode = 1,
  ) {
    super(message);
    this.name = 'CommandError';
  }
}

const USAGE_FAULT = 2;
const EXPLAINED = [
  CommandError,
  ConfigError,
  DataDirInUseError,
  EmbeddedPostgresError,
  MigrationError,
  PoolerError,
  RecoveryError,
  RegistryError,
];

/**
 * Runs one task of an operator inside the application, on its configured database and store, without ports and without jobs.
 * It may run beside the service: an embedded database is joined where it runs already, and started else. Ends the process
 * with the work's exit code; 2 for arguments that are none, 1 for anything that failed, 128 + number of a second signal.
 */
export async function runCommand<const Options extends ParseArgsOptionsConfig>(
  name: string,
  work: (command: Command<Options>) => Promise<number>,
  syntax: Syntax<Options> = { usage: '', options: {} as Options, allowPositionals: true },
): Promise<never> {
  // `| head` ends the reader first; nobody is left to be told.
  process.stdout.on('error', () => process.exit(0));
  const args = process.argv.slice(2);
  const stopping = stopSignal();
  try {
    const parsed = parse(name, args, syntax);
    if ((parsed.values as { help?: boolean }).help) {
      process.stdout.write(`${syntax.usage}\n`);
      process.exit(0);
    }
    const module = syntax.application ?? AppModule.with.bind(AppModule);
    const code = await inApplication(module, (application, config) =>
      work({
        get: (token) => application.get(token, { strict: false }),
        config,
        signal: stopping,
        print: (line) => void process.stdout.write(`${line}\n`),
        args,
        ...parsed,
      }),
    );
    process.exit(code);
  } catch (error) {
    const explained = EXPLAINED.some((kind) => error instanceof kind);
    const text = error instanceof Error && !explained ? error.stack : undefined;
    process.stderr.write(`${name}: ${text ?? (error as Error).message}\n`);
    process.exit(error instanceof CommandError ? error.exitCode : (syntax.failureCode ?? 1));
  }
}

async function inApplication(
  module: (config: Config) => DynamicModule,
  work: (application: INestApplicationContext, config: Config) => Promise<number>,
): Promise<number> {
  const config: Config = Object.freeze({ ...loadConfig(), serves: false });
  const application = await NestFactory.createApplicationContext(module(config), {
    logger: new TerminalLogger(),
    abortOnError: false,
  });
  try {
    return await work(application, config);
  } finally {
    await application.close();
  }
}

function parse<Options extends ParseArgsOptionsConfig>(
  name: string,
  args: string[],
  { usage, options, allowPositionals = false }: Syntax<Options>,
): { values: Values<Options>; positionals: string[] } {
  // A command that brings no syntax reads its arguments itself.
  if (usage === '') return { values: {} as Values<Options>, positionals: args };
  try {
    const known: ParseArgsOptionsConfig = { ...options, help: { type: 'boolean', short: 'h' } };
    const { values, positionals } = parseArgs({ args, options: known, allowPositionals, strict: true });
    return { values: values as Values<Options>, positionals };
  } catch (error) {
    throw new CommandError(`${(error as Error).message}\n\n${usage || name}`, USAGE_FAULT);
  }
}

function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const [name, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.on(name, () => {
      if (stopping.signal.aborted) process.exit(128 + number);
      stopping.abort();
    });
  }
  return stopping.signal;
}
