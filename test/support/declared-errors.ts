import type { ECRClient } from '@aws-sdk/client-ecr';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FRONT_END_TYPES } from '../../src/protocols/error-table.js';

/** As the SDK declares its commands; each names the errors of the API model. */
const COMMANDS = join(import.meta.dirname, '../../node_modules/@aws-sdk/client-ecr/dist-types/commands');

/** Quotas the service has not, or has without a declared error: there is no better word for their refusal. */
const BEYOND_THE_MODEL: Readonly<Record<string, readonly string[]>> = {
  InitiateLayerUpload: ['LimitExceededException'],
  CompleteLayerUpload: ['LimitExceededException'],
};

let declared: ReadonlyMap<string, ReadonlySet<string>> | undefined;

/** Names of the errors the API model declares, by operation. */
export function declaredErrors(): ReadonlyMap<string, ReadonlySet<string>> {
  return (declared ??= new Map(
    readdirSync(COMMANDS)
      .filter((file) => file.endsWith('Command.d.ts'))
      .map((file) => {
        const text = readFileSync(join(COMMANDS, file), 'utf8');
        const names = [...text.matchAll(/@throws \{@link (\w+Exception)\} \(/g)].map((match) => match[1]!);
        return [file.replace('Command.d.ts', ''), new Set(names)];
      }),
  ));
}

/** Whether an operation may be refused with an error of this name. */
export function mayAnswer(operation: string, errorName: string): boolean {
  return (
    declaredErrors().get(operation)?.has(errorName) === true ||
    FRONT_END_TYPES.has(errorName) ||
    BEYOND_THE_MODEL[operation]?.includes(errorName) === true
  );
}

/** Makes every request of a client that is answered with an error the operation does not declare fail as just that. */
export function refuseUndeclaredErrors(client: ECRClient): ECRClient {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        const operation = String(context.commandName).replace(/Command$/, '');
        if (isAnswer(error) && !mayAnswer(operation, error.name))
          throw new Error(`${operation} answered ${error.name}, which it does not declare`, { cause: error });
        throw error;
      }
    },
    { step: 'initialize', name: 'refuseUndeclaredErrors' },
  );
  return client;
}

/** Connection faults and those of the SDK itself are no answers of the registry. */
function isAnswer(error: unknown): error is Error {
  return error instanceof Error && '$fault' in error;
}
