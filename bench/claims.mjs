import { ratio } from './statistics.mjs';

/**
 * One line of the table that is checked.
 * @param {number} row
 * @param {string} what
 * @param {Series} [subject]
 * @param {Series} [reference] absent: the reference was not here
 * @param {{ atLeast?: number, atMost?: number, aim?: number | string, of?: 'values' | 'p99' }} limits `aim`: as text, what could
 *   not be measured here
 */
export function claim(row, what, subject, reference, { atLeast, atMost, aim, of = 'values' }) {
  if (!subject || !reference) return { row, what, atLeast, atMost, aim, missing: true };
  return { row, what, ...ratio(subject[of], reference[of]), atLeast, atMost, aim };
}

/** A claim about a number that is no quotient of two subjects. */
export function claimOf(row, what, value, limits) {
  return { row, what, value, ...limits };
}

/** @returns {'pass' | 'miss' | 'aim' | 'not measured'} */
export function verdict({ value, atLeast, atMost, aim, missing }) {
  if (missing) return 'not measured';
  const reaches = (limit) => (atMost === undefined ? value >= limit : value <= limit);
  if (!reaches(atLeast ?? atMost)) return 'miss';
  return typeof aim === 'number' && reaches(aim) ? 'aim' : 'pass';
}
