/** A read of all accounts that did not see their total. */
export interface TotalViolation {
  /** Which snapshot, from 0. */
  readonly index: number;
  readonly total: number;
  /** What is too much (positive) or missing (negative). */
  readonly difference: number;
  readonly explanation: string;
}

/**
 * Transfers between accounts keep the total, so every snapshot of all accounts must have it: one
 * that has not saw half a transfer, or one was lost or applied twice. (Jepsen's bank test.) Use
 * whole numbers: fractions do not add up exactly.
 */
export function checkConservedTotal(
  snapshots: readonly (readonly number[])[],
  expectedTotal: number,
): readonly TotalViolation[] {
  return snapshots.flatMap((snapshot, index) => {
    const total = snapshot.reduce((sum, amount) => sum + amount, 0);
    if (total === expectedTotal) return [];
    const difference = total - expectedTotal;
    const what = difference > 0 ? `${difference} too much` : `${-difference} too little`;
    const explanation = `Snapshot ${index} adds up to ${total} instead of ${expectedTotal} (${what}): [${snapshot.join(', ')}].`;
    return [{ index, total, difference, explanation }];
  });
}
