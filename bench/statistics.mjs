export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function range(values) {
  return [Math.min(...values), Math.max(...values)];
}

/** The quotient of the medians, and the lowest and highest quotient of any one round. */
export function ratio(numerators, denominators) {
  const rounds = numerators.map((value, round) => value / denominators[round]);
  return { value: median(numerators) / median(denominators), range: range(rounds) };
}
