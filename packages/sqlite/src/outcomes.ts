import { KEPT_OUTCOMES, type GroupOutcome, type TransactionId } from '@antiphon/core';
import type { Connection } from './connection.js';
import type { ReplicaState } from './state.js';

/** Outcomes forgotten at once, so that only one commit in so many pays for it. */
const PRUNE_OUTCOMES = 1000;

const COLUMNS =
  'seq, first_counter AS firstCounter, last_counter AS lastCounter, origin, token, rejected FROM _antiphon_outcomes';

interface OutcomeRow extends Omit<GroupOutcome, 'rejected'> {
  /** A JSON list; NULL for none, as nearly always. */
  readonly rejected: string | null;
}

/** What became of synchronous groups, as one connection sees it. */
export class Outcomes {
  constructor(private readonly connection: Connection) {}

  /** Inside the caller's transaction; forgets the oldest ones now and then. */
  keep(state: ReplicaState, { seq, firstCounter, lastCounter, origin, token, rejected }: GroupOutcome): void {
    this.connection
      .statement('INSERT OR REPLACE INTO _antiphon_outcomes VALUES (?, ?, ?, ?, ?, ?)')
      .run(
        seq,
        firstCounter,
        lastCounter,
        origin,
        token,
        rejected.length === 0 ? null : JSON.stringify(rejected),
      );
    state.outcomes++;
    if (state.outcomes < KEPT_OUTCOMES + PRUNE_OUTCOMES) return;
    state.outcomes -= this.connection
      .statement(
        `DELETE FROM _antiphon_outcomes WHERE seq < (SELECT seq FROM _antiphon_outcomes ORDER BY seq LIMIT 1 OFFSET ${PRUNE_OUTCOMES})`,
      )
      .run().changes;
  }

  /**
   * Looks from the newest back: an origin's counters rise with the log. At most a walk over all
   * that are kept.
   */
  of({ origin, counter }: TransactionId): GroupOutcome | undefined {
    const row = this.connection
      .statement(`SELECT ${COLUMNS} WHERE origin = ? AND first_counter <= ? ORDER BY seq DESC LIMIT 1`)
      .get(origin, counter) as OutcomeRow | undefined;
    return row === undefined || row.lastCounter < counter ? undefined : outcome(row);
  }

  from(seq: number, limit: number): GroupOutcome[] {
    const rows = this.connection
      .statement(`SELECT ${COLUMNS} WHERE seq >= ? ORDER BY seq, first_counter LIMIT ?`)
      .all(seq, limit) as OutcomeRow[];
    return rows.map(outcome);
  }
}

function outcome({ rejected, ...row }: OutcomeRow): GroupOutcome {
  return { ...row, rejected: rejected === null ? [] : (JSON.parse(rejected) as number[]) };
}
