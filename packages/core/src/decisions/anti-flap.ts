import type { PassedEpoch } from '../model/epoch.js';

/** Of automatic promotions: more of them in this time, and the next one has to wait. */
export const FLAP_WINDOW_MS = 300_000;
export const FREE_PROMOTIONS = 3;
const FIRST_WAIT_MS = 5000;
const LONGEST_WAIT_MS = 60_000;

export interface FlapVerdict {
  /** From when on there may be another automatic promotion. */
  readonly allowedAtMs: number;
  /** How many there were lately. */
  readonly recent: number;
  /** The next one has to wait, or had to: somebody should look why primaries fail. */
  readonly flapping: boolean;
}

/** When replicas took over by themselves, as the log tells everybody who has read it. */
export function promotionsIn(epochs: readonly PassedEpoch[]): readonly number[] {
  return epochs.flatMap(({ began }) => (began?.why === 'failover' ? [began.atMs] : []));
}

/**
 * When the next automatic promotion may be. A primary that fails again and again is worse than
 * none for a while: each change undoes what it had not passed on.
 *
 * @param promotions - When there were automatic ones, in any order, by the same clock as `nowMs`.
 */
export function nextPromotion(promotions: readonly number[], nowMs: number): FlapVerdict {
  // One in the future is of a clock that was ahead, and says nothing about when it was.
  const recent = promotions.filter((atMs) => atMs <= nowMs && nowMs - atMs < FLAP_WINDOW_MS);
  const excess = recent.length - FREE_PROMOTIONS;
  if (excess < 0) return { allowedAtMs: nowMs, recent: recent.length, flapping: false };
  const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** excess);
  const allowedAtMs = Math.max(nowMs, Math.max(...recent) + waitMs);
  return { allowedAtMs, recent: recent.length, flapping: true };
}
