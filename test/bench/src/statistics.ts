/**
 * The middle value; of an even number of values, the mean of the two in the middle. NaN when there
 * is none.
 */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/**
 * Linear interpolation between the two nearest ranks, as most tools do it. NaN when there is no
 * value.
 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Array.from(values).sort((a, b) => a - b);
  const rank = share * (sorted.length - 1);
  const below = sorted[Math.floor(rank)] ?? Number.NaN;
  const above = sorted[Math.ceil(rank)] ?? Number.NaN;
  return below + (above - below) * (rank - Math.floor(rank));
}

export function max(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
}
