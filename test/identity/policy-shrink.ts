import type { DraftPolicy, PolicyCase } from './policy-cases.js';

/** The smallest case found, statement by statement and key by key, of which the fault is still true. */
export async function shrink(
  drawn: PolicyCase,
  fails: (other: PolicyCase) => Promise<boolean>,
): Promise<PolicyCase> {
  for (const smaller of reductions(drawn)) {
    if (await fails(smaller)) return shrink(smaller, fails);
  }
  return drawn;
}

function* reductions(drawn: PolicyCase): Generator<PolicyCase> {
  for (const name of ['session', 'boundary', 'resourcePolicy'] as const) {
    const { [name]: policy, ...rest } = drawn;
    if (policy) yield rest;
  }
  for (const index of drawn.identity.keys()) yield { ...drawn, identity: drawn.identity.toSpliced(index, 1) };
  for (const name of ['session', 'boundary', 'resourcePolicy'] as const) {
    const policy = drawn[name];
    if (policy) for (const shorter of shortened(policy)) yield { ...drawn, [name]: shorter };
  }
  for (const [index, policy] of drawn.identity.entries()) {
    for (const shorter of shortened(policy))
      yield { ...drawn, identity: drawn.identity.with(index, shorter) };
  }
  for (const name of Object.keys(drawn.context)) {
    yield {
      ...drawn,
      context: Object.fromEntries(Object.entries(drawn.context).filter(([key]) => key !== name)),
    };
  }
}

function* shortened(policy: DraftPolicy): Generator<DraftPolicy> {
  if (policy.Statement.length < 2) return;
  for (const index of policy.Statement.keys())
    yield { ...policy, Statement: policy.Statement.toSpliced(index, 1) };
}
