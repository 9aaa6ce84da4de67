import type { Connection } from './connection.js';
import { quoteText } from './identifiers.js';
import { REFUSAL_PREFIX, storeError } from './errors.js';

/** What of a policy matters here. */
interface ForeignPolicy {
  readonly writes: 'capture' | 'library' | 'refuse';
  readonly foreignLeaseMs?: number;
}

/** `unixepoch('subsec')` is missing in the SQLite of Debian 12's shell, 3.40. */
const NOW_MS = `(julianday('now') - 2440587.5) * 86400000.0`;

/** Until when other programs may write to the file of a primary, unless its process says more. */
export const FOREIGN_LEASE = `CREATE TABLE IF NOT EXISTS _antiphon_lease (
   id INTEGER PRIMARY KEY CHECK (id = 1), until_ms REAL NOT NULL)`;

/** How long it lasts; undefined where it does not end. */
export function foreignLeaseMs({ writes, foreignLeaseMs: ms = 0 }: ForeignPolicy): number | undefined {
  return writes === 'capture' && ms > 0 ? ms : undefined;
}

/** In the caller's transaction. */
export function renewForeignLease(connection: Connection, policy: ForeignPolicy): void {
  const ms = foreignLeaseMs(policy);
  if (ms === undefined) return;
  connection
    .statement(
      `INSERT INTO _antiphon_lease VALUES (1, ${NOW_MS} + ?)
       ON CONFLICT (id) DO UPDATE SET until_ms = excluded.until_ms`,
    )
    .run(ms);
}

/** In a transaction of its own, unless another program writes right now. */
export function tryToRenew(connection: Connection, policy: ForeignPolicy): void {
  if (foreignLeaseMs(policy) === undefined || !connection.tryBegin()) return;
  try {
    renewForeignLease(connection, policy);
    connection.commit();
  } catch (thrown) {
    connection.rollback();
    throw storeError(thrown, 'Cannot say that this replica runs');
  }
}

/**
 * A statement of a trigger: for too long, nobody has been here who knows who is the primary. Whose
 * write the library has admitted is here now.
 */
export function refuseUnattended(notAdmitted: string): string {
  const message =
    `${REFUSAL_PREFIX} whose process has not run, or not reached NATS, for a while. Another replica may be the primary by ` +
    'now; start it, or write to the primary (antiphon status)';
  return (
    `SELECT RAISE(ABORT, ${quoteText(message)}) WHERE ${notAdmitted} AND NOT EXISTS ` +
    `(SELECT 1 FROM _antiphon_lease WHERE until_ms >= ${NOW_MS})`
  );
}
