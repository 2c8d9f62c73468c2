type Constructor<Instance> = abstract new (...parameters: never[]) => Instance;

/** What a call was refused with, as the SDK's own class. Any other outcome fails the test and says what it was. */
export async function refusal<Type extends Constructor<Error>>(
  call: Promise<unknown>,
  type: Type,
): Promise<InstanceType<Type>> {
  try {
    await call;
  } catch (error) {
    if (error instanceof type) return error as InstanceType<Type>;
    throw error;
  }
  throw new Error(`The call succeeded where ${type.name} was due`);
}

/** For errors of the front end, which the SDK has no class for. */
export async function refusalNamed(call: Promise<unknown>, name: string): Promise<Error> {
  const error = await refusal(call, Error);
  if (error.name !== name) throw error;
  return error;
}
