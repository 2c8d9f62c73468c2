/** A number and its unit; hours where there is none. */
export const DURATION = /^(?<count>[0-9]{1,6}(?:\.[0-9]{1,9})?)(?<unit>[smhd]?)$/;

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 };

/** @param duration matches {@link DURATION} */
export function secondsOf(duration: string): number {
  const { count, unit } = DURATION.exec(duration)!.groups as {
    count: string;
    unit: keyof typeof SECONDS | '';
  };
  return Number(count) * SECONDS[unit || 'h'];
}
