import type { Conflicts, KeptConflict } from '../data/cluster.js';

/** One conflict, as all replicas that have decided it say: each by itself, and alike. */
export interface SeenConflict extends KeptConflict {
  /** Table, key and both transactions. */
  readonly name: string;
  /** Where it was decided, and what the row is there now. */
  readonly by: readonly { readonly replica: string; readonly here?: KeptConflict['here'] }[];
}

/** The newest first. */
export function conflictsOf({ replicas }: Conflicts): readonly SeenConflict[] {
  const seen = new Map<string, SeenConflict>();
  for (const { id: replica, conflicts = [] } of replicas) {
    for (const one of conflicts) {
      const name = nameOf(one);
      const by = { replica, ...(one.here && { here: one.here }) };
      const same = seen.get(name);
      // One of them may not have had the lost row any more: it was hidden by another one.
      const rows = { ...(one.kept && { kept: one.kept }), ...(one.lost && { lost: one.lost }) };
      seen.set(name, {
        ...{ ...one, ...same, ...rows, name },
        by: [...(same?.by ?? []), by],
        atMs: Math.min(same?.atMs ?? Infinity, one.atMs),
      });
    }
  }
  return [...seen.values()].sort((a, b) => b.atMs - a.atMs);
}

function nameOf({ table, key, winner, loser }: KeptConflict): string {
  return [table, JSON.stringify(key), idOf(winner), idOf(loser)].join(' ');
}

export function idOf({ origin, counter }: KeptConflict['winner']): string {
  return `${origin}:${counter}`;
}

/** Why the one stays and not the other. */
export function reasonOf({ winner, loser }: KeptConflict, shown: (ms: number) => string): string {
  const laterMs = (winner.time - loser.time) / 1000;
  if (laterMs > 0)
    return `Neither knew of the other. ${winner.origin} wrote ${shown(laterMs)} later, and the later write stays.`;
  return `Neither knew of the other, and both wrote in the same microsecond: the name decides, and ${winner.origin} comes after ${loser.origin}.`;
}
