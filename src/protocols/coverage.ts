import type { Type } from '@nestjs/common';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants.js';
import { OPERATION_NAMES, type OperationName } from './ecr/operation-names.js';
import type { EcrRouteConfig } from './ecr/ecr-operation.decorator.js';
import type { OciRouteConfig } from './oci/oci-route.decorator.js';

/** What the controllers of the registry answer. */
export interface Coverage {
  /** Handler, written `Controller.method`, by operation. */
  ecr: ReadonlyMap<OperationName, string>;
  /** Routes of the distribution API by label. */
  oci: ReadonlyMap<string, string>;
  /** Operations that would have two handlers. */
  faults: readonly string[];
}

export function coverageOf(controllers: Iterable<Type>): Coverage {
  const ecr = new Map<OperationName, string>();
  const oci = new Map<string, string>();
  const faults: string[] = [];
  for (const controller of new Set(controllers)) {
    for (const [method, config] of routesOf(controller)) {
      const handler = `${controller.name}.${method}`;
      const table: Map<string, string> = config.door === 'ecr' ? ecr : oci;
      const other = table.get(config.operation);
      if (other !== undefined) faults.push(`${config.operation} is handled by ${other} and by ${handler}`);
      table.set(config.operation, handler);
    }
  }
  return { ecr, oci, faults };
}

/**
 * The controllers a module and everything it imports declare, read from their decorators; nothing is started.
 * @param root a module class or a dynamic module
 */
export function controllersOf(root: unknown): Type[] {
  const found = new Set<Type>();
  const seen = new Set<unknown>();
  const visit = (entry: unknown): void => {
    const target = isForwardReference(entry) ? entry.forwardRef() : entry;
    if (target === null || target === undefined || seen.has(target)) return;
    seen.add(target);
    if (typeof target === 'function') {
      for (const controller of declared(target, 'controllers')) found.add(controller as Type);
      declared(target, 'imports').forEach(visit);
      return;
    }
    const {
      module,
      controllers = [],
      imports = [],
    } = target as { module?: Type; controllers?: Type[]; imports?: unknown[] };
    for (const controller of controllers) found.add(controller);
    [module, ...imports].forEach(visit);
  };
  visit(root);
  return [...found];
}

/** The page that tells what works, `docs/coverage.md`. */
export function coveragePage(coverage: Coverage): string {
  const rows = OPERATION_NAMES.map(
    (operation) => `| ${operation} | ${coverage.ecr.has(operation) ? 'yes' : 'not yet'} |`,
  );
  const routes = [...coverage.oci.keys()].toSorted().map((label) => {
    const [, method, path] = label.split(' ');
    return `| ${method} | \`/v2/${path === '/' ? '' : path}\` |`;
  });
  return [
    '# What this registry answers',
    '',
    'Written by `npm run coverage:write` from the controllers. An operation that is not there yet answers',
    '`UnknownOperationException` and says so.',
    '',
    `## Amazon ECR API: ${coverage.ecr.size} of ${OPERATION_NAMES.length} operations`,
    '',
    '| operation | answered |',
    '| --- | --- |',
    ...rows,
    '',
    `## OCI distribution API: ${coverage.oci.size} routes`,
    '',
    '| method | path |',
    '| --- | --- |',
    ...routes,
    '',
  ].join('\n');
}

function* routesOf(controller: Type): Generator<[string, EcrRouteConfig | OciRouteConfig]> {
  const prototype = controller.prototype as Record<string, unknown>;
  for (const method of Object.getOwnPropertyNames(prototype)) {
    const handler = Object.getOwnPropertyDescriptor(prototype, method)?.value as unknown;
    if (typeof handler !== 'function') continue;
    const config = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler) as
      Partial<EcrRouteConfig | OciRouteConfig> | undefined;
    if (config?.door !== undefined) yield [method, config as EcrRouteConfig | OciRouteConfig];
  }
}

function declared(module: object, property: string): unknown[] {
  return (Reflect.getMetadata(property, module) as unknown[] | undefined) ?? [];
}

function isForwardReference(entry: unknown): entry is { forwardRef(): unknown } {
  return (
    typeof entry === 'object' &&
    entry !== null &&
    'forwardRef' in entry &&
    typeof entry.forwardRef === 'function'
  );
}
