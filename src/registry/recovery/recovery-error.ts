/** Why a backup, a restore or a rebuild did not happen; the message tells the operator what to do. */
export class RecoveryError extends Error {
  override readonly name: string = 'RecoveryError';
}
