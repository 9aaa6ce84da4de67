import { ConflictError, formatOutcomeId, type PreparedWrite, type Rejection } from '@antiphon/core';
import type { SyncWrite } from '../state/sync-write.js';

/** A write of a group, after it ran. */
export interface Flying {
  readonly write: SyncWrite;
  readonly ran: Extract<PreparedWrite, { type: 'ran' }>;
}

/** A group whose message was sent, and that is not committed here. */
export interface Flight {
  readonly origin: string;
  readonly token: string;
  readonly firstCounter: number;
  readonly lastCounter: number;
  /** Empty for a no-op group. */
  readonly flying: readonly Flying[];
  /** The newest entry of our own subject when it was published. */
  readonly after: number;
}

/**
 * As its caller may ask for it. What changed nothing stands and falls with the first of its group.
 */
export function outcomeIdOf({ origin, firstCounter, token }: Flight, { ran }: Flying): string {
  return formatOutcomeId(ran.id ?? { origin, counter: firstCounter }, token);
}

export function conflictError({ ran }: Flying, rejection: Rejection | undefined): ConflictError {
  const named = ran.claims.find(({ claim }) => claim === rejection?.claim);
  const winner = rejection?.winner;
  const row =
    named === undefined ? 'what it wrote or locked' : `${named.table} (${named.key.map(String).join(', ')})`;
  const by = winner === undefined ? 'Another transaction' : `${winner.origin}:${winner.counter}`;
  return new ConflictError(
    `${by} was committed first and wrote or locked ${row}. Nothing of this write was kept. Run it again.`,
    {
      ...(named && { table: named.table, key: named.key }),
      ...(winner && { winner: { origin: winner.origin, counter: winner.counter } }),
    },
  );
}

/** The id of the append that brings a group into the log. */
export function attemptOf({ origin, firstCounter, lastCounter, token }: Flight): string {
  return `${origin}:${firstCounter}-${lastCounter}~${token}`;
}
