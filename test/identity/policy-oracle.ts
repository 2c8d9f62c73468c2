import { runSimulation, type Simulation } from '@cloud-copilot/iam-simulate';
import { type CompiledPolicy, compilePolicy } from '../../src/identity/policies/compiled-policy.js';
import { parsePolicyDocument } from '../../src/identity/policies/document/policy-document.js';
import type { PolicyKind } from '../../src/identity/policies/document/policy-size.js';
import { type Decision, evaluate } from '../../src/identity/policies/evaluate.js';
import type { RequestPrincipal } from '../../src/identity/policies/matching/principals.js';
import { RequestContext } from '../../src/identity/policies/request-context.js';
import type { DraftPolicy, DraftStatement, PolicyCase } from './policy-cases.js';

export type Outcome = Decision['outcome'];

const OUTCOMES = {
  Allowed: 'allowed',
  ExplicitlyDenied: 'explicit-deny',
  ImplicitlyDenied: 'implicit-deny',
} as const;

/** The oracle knows no root that may do everything: it is told so by a policy. */
const ADMINISTRATOR: DraftPolicy = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
};

/** @returns its outcome, and the context keys it does not know for the action and so did not look at */
export async function askOracle(
  drawn: PolicyCase,
): Promise<{ outcome: Outcome; ignored: readonly string[] }> {
  const identity = drawn.principal.type === 'root' ? [ADMINISTRATOR] : drawn.identity;
  const simulation: Simulation = {
    request: {
      principal: drawn.principal.arn,
      action: drawn.action,
      resource: { resource: drawn.resource, accountId: drawn.resourceAccountId },
      contextVariables: drawn.context,
    },
    identityPolicies: identity.map((policy, index) => ({ name: `identity-${index}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    ...(drawn.session && { sessionPolicy: drawn.session }),
    ...(drawn.resourcePolicy && { resourcePolicy: drawn.resourcePolicy }),
    ...(drawn.boundary && { permissionBoundaryPolicies: [{ name: 'boundary', policy: drawn.boundary }] }),
  };
  const results = await runSimulation(simulation, {});
  if (results.resultType === 'error')
    throw new Error(JSON.stringify({ errors: results.errors, drawn }, null, 1));
  const [result] = results.resultType === 'single' ? [results.result] : results.results;
  return { outcome: OUTCOMES[results.overallResult], ignored: result?.ignoredContextKeys ?? [] };
}

export function decide(drawn: PolicyCase, ignored: readonly string[]): Decision {
  const { principal, action, resource, resourceAccountId } = drawn;
  const known = Object.entries(drawn.context).filter(([key]) => !ignored.includes(key));
  const compile = (kind: PolicyKind, policy: DraftPolicy): CompiledPolicy =>
    compilePolicy(kind, parsePolicyDocument(JSON.stringify(policy), kind));
  return evaluate(
    {
      principal: principal as RequestPrincipal,
      action,
      resource,
      resourceAccountId,
      context: new RequestContext(Object.fromEntries(known)),
    },
    {
      identity: drawn.identity.map((policy) => compile('identity', policy)),
      ...(drawn.resourcePolicy && { resource: [compile('resource', drawn.resourcePolicy)] }),
      ...(drawn.boundary && { boundary: compile('boundary', drawn.boundary) }),
      ...(drawn.session && { session: [compile('session', drawn.session)] }),
    },
  );
}

/** The same case without the statements of which `unwanted` says so, in whichever policy they stand. */
export function without(
  drawn: PolicyCase,
  unwanted: (statement: DraftStatement, policy: DraftPolicy) => boolean,
): PolicyCase {
  // A policy is never left empty: what stays is a statement that speaks of nothing here.
  const idle = (statement: DraftStatement): DraftStatement => ({
    Effect: statement.Effect,
    ...(statement.Principal || statement.NotPrincipal ? { Principal: '*' as const } : {}),
    Action: 'sqs:SendMessage',
    Resource: '*',
  });
  const prune = (policy: DraftPolicy): DraftPolicy => ({
    ...policy,
    Statement: policy.Statement.map((statement) =>
      unwanted(statement, policy) ? idle(statement) : statement,
    ),
  });
  return {
    ...drawn,
    identity: drawn.identity.map(prune),
    ...(drawn.resourcePolicy && { resourcePolicy: prune(drawn.resourcePolicy) }),
    ...(drawn.boundary && { boundary: prune(drawn.boundary) }),
    ...(drawn.session && { session: prune(drawn.session) }),
  };
}
