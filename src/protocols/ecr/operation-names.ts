import * as sdk from '@aws-sdk/client-ecr';

/** Operations of the ECR API as the SDK knows them: its commands, without the suffix. */
export type OperationName = {
  [Export in keyof typeof sdk]: Export extends `${infer Op}Command` ? (Op extends '$' ? never : Op) : never;
}[keyof typeof sdk];

/** All of them, in alphabetical order. */
export const OPERATION_NAMES: readonly OperationName[] = Object.keys(sdk)
  .filter((name) => /^[A-Z]\w*Command$/.test(name))
  .map((name) => name.slice(0, -'Command'.length) as OperationName)
  .toSorted();

const known: ReadonlySet<string> = new Set(OPERATION_NAMES);

export function isOperationName(name: string): name is OperationName {
  return known.has(name);
}
