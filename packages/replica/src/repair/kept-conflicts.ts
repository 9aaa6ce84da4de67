import type { KeptConflict } from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { answerBytes, cutToFit, fitting, revived, type ShownRow } from './shown-row.js';

/** One answer has so many at most. */
const PAGE = 50;

/** Which conflicts of a replica. */
export interface ConflictQuery {
  /** Only those before the one with this `id`: the next page. */
  readonly beforeId?: number;
}

/** A conflict with both rows; long values are cut. */
export interface ShownConflict extends Omit<KeptConflict, 'key' | 'kept' | 'lost' | 'here'> {
  readonly key: ShownRow;
  /** What the winner made of the row; absent where it deleted it. */
  readonly kept?: ShownRow;
  /** What the loser had made of it; absent where it had deleted it. */
  readonly lost?: ShownRow;
  /** The row as it is in this database now; absent where there is none. */
  readonly here?: ShownRow;
  /** The rows have so many more columns, which did not fit into the answer. */
  readonly moreColumns?: number;
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

export async function keptConflicts(scope: Scope, { beforeId }: ConflictQuery): Promise<ConflictList> {
  const { store } = scope;
  const found = await store.conflicts({ limit: PAGE + 1, ...(beforeId !== undefined && { beforeId }) });
  const bytes = answerBytes(scope);
  const shown = found.slice(0, PAGE).map((conflict): ShownConflict => cutToFit(conflict, bytes));
  const conflicts = fitting(shown, bytes);
  return { conflicts, more: conflicts.length < found.length, total: store.state().conflicts };
}

/** As they were before they travelled in a message. */
export function revivedConflicts(list: ConflictList): ConflictList {
  return { ...list, conflicts: list.conflicts.map(revived) };
}
