import type { ReplicaView } from './replica-view.js';

/**
 * Which of the replicas that may serve a read gets it.
 *
 * - `least-outstanding`: of two drawn at random, the one with fewer unanswered reads of this client
 *   (power of two choices; Mitzenmacher, 2001). It finds out by itself who is slow.
 * - `round-robin`: one after the other, weighted and without bursts.
 * - `random`: by weight.
 * - `nearest`: among those whose round trip is close to the shortest, as for `least-outstanding`.
 * - `least-lag`: the one that is least behind the log; among equals as for `least-outstanding`.
 */
export type BalancePolicy = 'least-outstanding' | 'round-robin' | 'random' | 'nearest' | 'least-lag';

/** Every `BalancePolicy`. */
export const BALANCE_POLICIES: readonly BalancePolicy[] = [
  ...(['least-outstanding', 'round-robin', 'random', 'nearest', 'least-lag'] as const),
];

/** A replica within so many milliseconds of the nearest one is as near. */
const NEAR_MS = 1;
/** Or within this share of its round trip, whichever is more. */
const NEAR_SHARE = 0.5;

/** What `round-robin` keeps from one choice to the next: the credit of each replica. */
export type Credits = Map<string, number>;

/** `random`: at least 0, below 1. Throws nothing; undefined where there is nobody. */
export function choose(
  policy: BalancePolicy,
  views: readonly ReplicaView[],
  credits: Credits,
  random: () => number,
): ReplicaView | undefined {
  if (views.length <= 1) return views[0];
  switch (policy) {
    case 'least-outstanding':
      return lessBusyOfTwo(views, random);
    case 'round-robin':
      return nextInTurn(views, credits);
    case 'random':
      return drawn(views, random);
    case 'nearest':
      return lessBusyOfTwo(nearOnes(views), random);
    case 'least-lag':
      return lessBusyOfTwo(leastBehind(views), random);
  }
}

function drawn(views: readonly ReplicaView[], random: () => number): ReplicaView | undefined {
  let left = random() * views.reduce((sum, { weight }) => sum + weight, 0);
  for (const view of views) {
    left -= view.weight;
    if (left < 0) return view;
  }
  return views.at(-1);
}

function lessBusyOfTwo(views: readonly ReplicaView[], random: () => number): ReplicaView | undefined {
  const one = drawn(views, random);
  const other = drawn(
    views.filter((view) => view !== one),
    random,
  );
  if (one === undefined || other === undefined) return one;
  return busyness(other) < busyness(one) ? other : one;
}

/** As if the read were there already: an idle heavy replica and an idle light one are not alike. */
function busyness({ outstanding, weight }: ReplicaView): number {
  return (outstanding + 1) / weight;
}

/** The smooth weighted round robin of nginx: the turns of a heavy one are spread over the round. */
function nextInTurn(views: readonly ReplicaView[], credits: Credits): ReplicaView | undefined {
  let next: ReplicaView | undefined;
  let most = -Infinity;
  let round = 0;
  for (const view of views) {
    const credit = (credits.get(view.id) ?? 0) + view.weight;
    credits.set(view.id, credit);
    round += view.weight;
    if (credit > most) [next, most] = [view, credit];
  }
  if (next !== undefined) credits.set(next.id, most - round);
  return next;
}

/** Those that were never measured count as near: one read measures them. */
function nearOnes(views: readonly ReplicaView[]): readonly ReplicaView[] {
  const nearestMs = Math.min(...views.map(({ roundTripMs = 0 }) => roundTripMs));
  const limitMs = nearestMs + Math.max(NEAR_MS, nearestMs * NEAR_SHARE);
  return views.filter(({ roundTripMs = 0 }) => roundTripMs <= limitMs);
}

function leastBehind(views: readonly ReplicaView[]): readonly ReplicaView[] {
  const least = Math.min(...views.map(({ lagEntries }) => lagEntries));
  return views.filter(({ lagEntries }) => lagEntries === least);
}
