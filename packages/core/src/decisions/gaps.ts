import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { MAX_GAPS, type Gap } from '../ports/store.js';

/**
 * With one more gap, unless its origin has got further, or has an earlier one already; the same
 * list then.
 */
export function withGap(gaps: readonly Gap[], gap: Gap, vector: VectorClock): readonly Gap[] {
  const superfluous =
    counterOf(vector, gap.origin) >= gap.expected || gaps.some(({ origin }) => origin === gap.origin);
  return superfluous || gaps.length >= MAX_GAPS ? gaps : [...gaps, gap];
}

/** Without the gap of this origin; the same list when there is none. */
export function withoutGap(gaps: readonly Gap[], of: string): readonly Gap[] {
  return gaps.some(({ origin }) => origin === of) ? gaps.filter(({ origin }) => origin !== of) : gaps;
}

/**
 * What is left once the transactions of an origin up to `counter` are here; the same list when that
 * changes nothing.
 */
export function withoutArrived(gaps: readonly Gap[], of: string, counter: number): readonly Gap[] {
  return gaps.some(({ origin, expected }) => origin === of && counter >= expected)
    ? withoutGap(gaps, of)
    : gaps;
}
