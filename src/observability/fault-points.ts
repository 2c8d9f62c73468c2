import { writeSync } from 'node:fs';

/**
 * Every boundary between a step of the blob store and one of the database, and between the last of them and the reply: where a
 * process that dies leaves one done and the other not. Each name says what was done last.
 */
export const FAULT_POINTS = [
  // Uploads and layers, at both doors.
  'upload-begun',
  'part-stored',
  'part-recorded',
  'rest-stored',
  'rest-recorded',
  'object-completed',
  'completion-refused',
  'layer-linked',
  'layer-settled',
  'upload-cancelled',
  'layer-mounted',
  'layer-unlinked',
  // Images and repositories.
  'image-accepted',
  'image-pushed',
  'image-removed',
  'repository-created',
  'repository-deleted',
  // Inside the drivers.
  'multipart-created',
  'multipart-part-stored',
  'multipart-rest-stored',
  'file-folder-made',
  'file-written',
  'object-file-linked',
  'object-folder-made',
  'object-part-linked',
  'object-layout-written',
  // The collector.
  'uploads-expired',
  'layers-unlinked',
  'blobs-dropped',
  'doomed-claimed',
  'doomed-removed',
  'doomed-discarded',
  'orphans-found',
  'orphans-removed',
  'unfinished-found',
  'unfinished-discarded',
  // The first start.
  'store-named',
] as const;

export type FaultPoint = (typeof FAULT_POINTS)[number];

/** `<name>` or `<name>:<n>`, the n-th passing; read once at start, so that nothing that comes over the wire can set it. */
const PLAN = process.env['STOWAGE_TEST_FAULT_POINT'];
/** SIGKILL, or SIGSTOP for a test that wants to do something to the world at that very moment. */
const SIGNAL = process.env['STOWAGE_TEST_FAULT_SIGNAL'] === 'SIGSTOP' ? 'SIGSTOP' : 'SIGKILL';

/** Marks a boundary. Does nothing, unless the process was started by a test that wants it to die just here. */
export const faultPoint: (name: FaultPoint) => void = PLAN === undefined ? () => undefined : armed(PLAN);

/** @throws for a name that is none: a test that waits for it would wait for ever */
function armed(plan: string): (name: FaultPoint) => void {
  const [chosen, nth = '1'] = plan.split(':');
  let left = Number(nth);
  if (!FAULT_POINTS.some((name) => name === chosen) || !(left >= 1))
    throw new Error(`STOWAGE_TEST_FAULT_POINT names no fault point: ${plan}`);
  return (name) => {
    if (name !== chosen || (left -= 1) !== 0) return;
    writeSync(2, `Fault point ${name}\n`);
    process.kill(process.pid, SIGNAL);
  };
}
