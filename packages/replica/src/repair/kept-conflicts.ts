import type { KeptConflict, Value } from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { bytesOfRow, cutRow, revivedRow, type ShownRow } from './shown-row.js';

/** One answer has so many at most. */
const PAGE = 50;
/** Of their rows: a mailbox's answer is one message. */
const MAX_SHOWN_BYTES = 256 * 1024;

/** Which conflicts of a replica. */
export interface ConflictQuery {
  /** Only those before the one with this `id`: the next page. */
  readonly beforeId?: number;
}

/** A conflict with both rows; long values are cut. */
export interface ShownConflict extends Omit<KeptConflict, 'kept' | 'lost' | 'here'> {
  /** What the winner made of the row; absent where it deleted it. */
  readonly kept?: ShownRow;
  /** What the loser had made of it; absent where it had deleted it. */
  readonly lost?: ShownRow;
  /** The row as it is in this database now; absent where there is none. */
  readonly here?: ShownRow;
}

/** The conflicts that a replica has decided last. */
export interface ConflictList {
  /** The newest first, at most 50. */
  readonly conflicts: readonly ShownConflict[];
  /** There are more: ask with the last one's `id` as `beforeId`. */
  readonly more: boolean;
  /** How many it has ever decided; it keeps the last 200. */
  readonly total: number;
}

export async function keptConflicts({ store }: Scope, { beforeId }: ConflictQuery): Promise<ConflictList> {
  const found = await store.conflicts({ limit: PAGE + 1, ...(beforeId !== undefined && { beforeId }) });
  const conflicts: ShownConflict[] = [];
  let bytes = 0;
  for (const conflict of found.slice(0, PAGE)) {
    const shown = withRows(conflict, cutRow);
    const rows = [shown.key, shown.kept, shown.lost, shown.here];
    bytes += rows.reduce((sum, row) => sum + bytesOfRow(row), 0);
    if (conflicts.length > 0 && bytes > MAX_SHOWN_BYTES) break;
    conflicts.push(shown);
  }
  return { conflicts, more: conflicts.length < found.length, total: store.state().conflicts };
}

/** As they were before they travelled in a message. */
export function revivedConflicts(list: ConflictList): ConflictList {
  const conflicts = list.conflicts.map((one) => ({
    ...withRows(one, revivedRow),
    key: one.key.map(revivedKey),
  }));
  return { ...list, conflicts };
}

function withRows(
  conflict: Omit<ShownConflict, 'kept' | 'lost' | 'here'> &
    Partial<Record<'kept' | 'lost' | 'here', ShownRow>>,
  map: (row: ShownRow) => ShownRow,
): ShownConflict {
  const { kept, lost, here } = conflict;
  return {
    ...conflict,
    ...(kept && { kept: map(kept) }),
    ...(lost && { lost: map(lost) }),
    ...(here && { here: map(here) }),
  };
}

function revivedKey(value: Value): Value {
  const [revived] = revivedRow([value]);
  return (revived ?? null) as Value;
}
