import type { TransactionId } from '../model/transaction-id.js';

/**
 * Origin → highest counter applied, without holes below. A missing origin counts as 0.
 * (Mattern, "Virtual Time and Global States of Distributed Systems", 1988.)
 */
export type VectorClock = Readonly<Record<string, number>>;

export type VectorOrder = 'equal' | 'before' | 'after' | 'concurrent';

/**
 * 0 when the origin is missing. An origin may be called `constructor`: only a number counts,
 * nothing inherited.
 */
export function counterOf(vector: VectorClock, origin: string): number {
  const counter: unknown = vector[origin];
  return typeof counter === 'number' ? counter : 0;
}

/** Whether the transaction is among those that the vector stands for. */
export function covers(vector: VectorClock, id: TransactionId): boolean {
  return counterOf(vector, id.origin) >= id.counter;
}

/** Whether `a` stands for everything that `b` stands for (and perhaps more). */
export function dominates(a: VectorClock, b: VectorClock): boolean {
  for (const origin of Object.keys(b)) {
    if (counterOf(a, origin) < counterOf(b, origin)) return false;
  }
  return true;
}

/** `before`: everything in `a` is in `b` and `b` has more. */
export function compareVectors(a: VectorClock, b: VectorClock): VectorOrder {
  const aHasAll = dominates(a, b);
  const bHasAll = dominates(b, a);
  if (aHasAll && bHasAll) return 'equal';
  if (aHasAll) return 'after';
  return bHasAll ? 'before' : 'concurrent';
}

/** The least vector that dominates both. Gives back an argument itself when it already does. */
export function merge(a: VectorClock, b: VectorClock): VectorClock {
  if (dominates(a, b)) return a;
  if (dominates(b, a)) return b;
  const merged: Record<string, number> = { ...a };
  for (const origin of Object.keys(b)) {
    const counter = counterOf(b, origin);
    if (counter > counterOf(merged, origin)) merged[origin] = counter;
  }
  return merged;
}

/** `vector` with one origin at `counter`; a counter that it covers already changes nothing. */
export function advance(vector: VectorClock, origin: string, counter: number): VectorClock {
  if (counter <= counterOf(vector, origin)) return vector;
  return { ...vector, [origin]: counter };
}
