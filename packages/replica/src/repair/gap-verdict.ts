import { counterOf, type Gap, type VectorClock } from '@antiphon/core';

/** How far a member says it is. */
export interface Witness {
  readonly id: string;
  /** Its position: it has dealt with the log up to here. */
  readonly seq: number;
  readonly vector: VectorClock;
}

/**
 * Whether what a gap waits for does not exist, so that nothing is missing: a message was forged, or
 * it was one that no replica accepts and its origin did not commit it either. Its origin knows:
 * when it has dealt with the entry that showed the gap and its own counter is lower, it never gave
 * that counter to a transaction that came before. So do, in a synchronous cluster, the members in
 * sync (`inSync`, without this one): what none of them has was not acknowledged by any.
 */
export function isUnfounded(
  gap: Pick<Gap, 'origin' | 'expected' | 'seq'>,
  witnesses: ReadonlyMap<string, Witness>,
  inSync: readonly string[] | undefined,
): boolean {
  const lacks = (id: string): boolean => {
    const witness = witnesses.get(id);
    return (
      witness !== undefined && witness.seq >= gap.seq && counterOf(witness.vector, gap.origin) < gap.expected
    );
  };
  return lacks(gap.origin) || (inSync !== undefined && inSync.every(lacks));
}
