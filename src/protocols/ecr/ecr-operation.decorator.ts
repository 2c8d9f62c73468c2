import { applyDecorators, HttpCode, Post, UseInterceptors, UsePipes } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import type * as sdk from '@aws-sdk/client-ecr';
import { EcrInputPipe } from './ecr-input.pipe.js';
import { EcrOutputInterceptor } from './ecr-output.interceptor.js';
import type { OperationName } from './operation-names.js';

type Command<Op extends OperationName> = (typeof sdk)[`${Op}Command`];
type Input<Op extends OperationName> = ConstructorParameters<Command<Op>>[0];
type Output<Op extends OperationName> =
  InstanceType<Command<Op>> extends {
    resolveMiddleware(...args: never[]): (...args: never[]) => Promise<infer Sent>;
  }
    ? Sent extends { output: infer Result }
      ? Omit<Result, '$metadata'>
      : never
    : never;

/** A handler takes the model's input first and whatever it needs of the request after it, and answers the model's output. */
export type OperationDecorator<Op extends OperationName> = <
  Handler extends (input: NonNullable<Input<Op>>, ...rest: never[]) => Promise<Output<Op>> | Output<Op>,
>(
  controller: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<Handler>,
) => void;

/**
 * Names the resources of a request, for authorisation. An ARN or `*` stands for itself, anything else is the name of a
 * repository in the registry addressed. It sees the document before it is validated.
 */
export type ResourceNaming = (input: Readonly<Record<string, unknown>>) => string[];

export interface EcrOperationOptions {
  /** Absent: `repositoryName`, or `*` where there is none. */
  resources?: ResourceNaming;
}

/** What `request.routeOptions.config` tells of a route at the ECR door. */
export interface EcrRouteConfig {
  door: 'ecr';
  /** Also the label of metrics and logs. */
  operation: OperationName;
  /** The IAM action the caller needs. */
  action: `ecr:${string}`;
  resources: ResourceNaming;
}

/**
 * Makes a controller method the handler of one operation of the ECR API: its route, the action it needs, validation of its
 * input and the encoding of its output.
 */
export function EcrOperation<Op extends OperationName>(
  operation: Op,
  options: EcrOperationOptions = {},
): OperationDecorator<Op> {
  const config: EcrRouteConfig = {
    door: 'ecr',
    operation,
    action: `ecr:${operation}`,
    resources: total(options.resources ?? repositoryOf),
  };
  return applyDecorators(
    Post(operation),
    HttpCode(200),
    RouteConfig(config),
    UsePipes(new EcrInputPipe(operation)),
    UseInterceptors(new EcrOutputInterceptor(operation)),
  );
}

/** A naming that fails on a document of the wrong shape names nothing; validation, which comes next, will say so. */
function total(naming: ResourceNaming): ResourceNaming {
  return (input) => {
    try {
      const names = naming(input);
      return names.length > 0 && names.every((name) => typeof name === 'string') ? names : ['*'];
    } catch {
      return ['*'];
    }
  };
}

function repositoryOf(input: Readonly<Record<string, unknown>>): string[] {
  const name = input['repositoryName'];
  return [typeof name === 'string' && name !== '' ? name : '*'];
}
