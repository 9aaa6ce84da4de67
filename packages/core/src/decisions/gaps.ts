import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { MAX_GAPS, type Gap } from '../ports/store.js';

/**
 * With one more gap, unless its origin has got further. One that its origin has already reaches as
 * far as that of the two which reaches further. The same list when that changes nothing.
 */
export function withGap(gaps: readonly Gap[], gap: Gap, vector: VectorClock): readonly Gap[] {
  if (counterOf(vector, gap.origin) >= gap.expected) return gaps;
  const known = gaps.find(({ origin }) => origin === gap.origin);
  if (known === undefined) return gaps.length >= MAX_GAPS ? gaps : [...gaps, gap];
  if (known.found >= gap.found) return gaps;
  return gaps.map((one) => (one === known ? { ...one, found: gap.found } : one));
}

/** Without the gap of this origin; the same list when there is none. */
export function withoutGap(gaps: readonly Gap[], of: string): readonly Gap[] {
  return gaps.some(({ origin }) => origin === of) ? gaps.filter(({ origin }) => origin !== of) : gaps;
}

/**
 * What is left once the transactions of an origin up to `counter` are here; the same list when that
 * changes nothing. What came behind the missing one was dropped as well: until all that was seen
 * has come again, the gap stays where it began.
 */
export function withoutArrived(gaps: readonly Gap[], of: string, counter: number): readonly Gap[] {
  const known = gaps.find(({ origin }) => origin === of);
  if (known === undefined || counter < known.expected) return gaps;
  if (counter >= known.found) return withoutGap(gaps, of);
  return gaps.map((one) => (one === known ? { ...one, expected: counter + 1 } : one));
}
