/**
 * What a failed query means. Prisma reports the same fault in several shapes: by a code of its own for its queries, by the
 * driver's cause for raw SQL, and as the driver's own error where no query was run yet.
 */

/** What the PostgreSQL adapter says of a fault. */
interface DriverCause {
  kind?: string;
  /** SQLSTATE. */
  originalCode?: string;
  code?: string;
  originalMessage?: string;
  constraint?: { index?: string; fields?: string[] };
}

const SOCKET_FAULTS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
  'ENOENT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Prisma: cannot reach, timed out, closed by the server, no connection free, transaction lost or not begun. */
const PRISMA_UNAVAILABLE = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028', 'P2037']);

const UNAVAILABLE_KINDS = new Set([
  'DatabaseNotReachable',
  'ConnectionClosed',
  'SocketTimeout',
  'TooManyConnections',
  'TlsConnectionError',
]);

/**
 * SQLSTATE: connection exceptions, resources (connections, disk, memory), shutdown and start in progress, the system beneath;
 * a statement, a lock or an idle transaction that took too long; a server that only reads, as one does in a fail-over.
 */
const UNAVAILABLE_STATE = /^(08|53|57P0|58|57014|55P03|25P03|25006)/;
const READ_ONLY = '25006';

/** The driver's own messages, which have no code. */
const LOST_CONNECTION =
  /connection terminated|timeout exceeded when trying to connect|timeout expired|client has encountered a connection error|not queryable|query read timeout/i;
const UNANSWERED = /query read timeout/i;

/** @param index name of the unique index or constraint; absent: any */
export function isUniqueViolation(error: unknown, index?: string): boolean {
  return sqlState(error) === '23505' && (index === undefined || constraintOf(error) === index);
}

/** @param constraint name of the foreign key; absent: any */
export function isForeignKeyViolation(error: unknown, constraint?: string): boolean {
  const state = sqlState(error);
  return (
    (state === '23503' || state === '23001') &&
    (constraint === undefined || constraintOf(error) === constraint)
  );
}

/** A CHECK of the schema refused the row, such as a counter that would fall below zero. */
export function isCheckViolation(error: unknown): boolean {
  return sqlState(error) === '23514';
}

/** Two transactions met; the same work may be tried again at once. */
export function isRetryableConflict(error: unknown): boolean {
  const state = sqlState(error);
  return state === '40001' || state === '40P01' || codeOf(error) === 'P2034';
}

/** The database could not be reached, or went away: nothing is known to be wrong with the request. */
export function isUnavailable(error: unknown): boolean {
  const code = codeOf(error);
  const cause = driverCause(error);
  if (code !== undefined && (PRISMA_UNAVAILABLE.has(code) || SOCKET_FAULTS.has(code))) return true;
  if (cause?.kind !== undefined && UNAVAILABLE_KINDS.has(cause.kind)) return true;
  const state = sqlState(error);
  if (state !== undefined) return UNAVAILABLE_STATE.test(state);
  return error instanceof Error && LOST_CONNECTION.test(cause?.originalMessage ?? error.message);
}

/**
 * The connection is of no further use, although it is open: nothing comes over it, or it leads to a server that only reads,
 * where a new one may find the server that took over.
 */
export function isSpoilt(error: unknown): boolean {
  return sqlState(error) === READ_ONLY || (error instanceof Error && UNANSWERED.test(error.message));
}

/** @returns the five characters PostgreSQL answered with, if it answered */
export function sqlState(error: unknown): string | undefined {
  const cause = driverCause(error);
  const state = cause?.originalCode ?? cause?.code ?? codeOf(error);
  return state !== undefined && /^[0-9A-Z]{5}$/.test(state) && !/^P[0-9]{4}$/.test(state) ? state : undefined;
}

function constraintOf(error: unknown): string | undefined {
  const cause = driverCause(error);
  if (cause) return cause.constraint?.index;
  return isObject(error) && typeof error['constraint'] === 'string' ? error['constraint'] : undefined;
}

function driverCause(error: unknown): DriverCause | undefined {
  if (!isObject(error)) return undefined;
  const meta = isObject(error['meta']) ? error['meta']['driverAdapterError'] : undefined;
  const adapterError = meta ?? (error['name'] === 'DriverAdapterError' ? error : undefined);
  return isObject(adapterError) && isObject(adapterError['cause']) ? adapterError['cause'] : undefined;
}

function codeOf(error: unknown): string | undefined {
  return isObject(error) && typeof error['code'] === 'string' ? error['code'] : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
