import { uncounted } from './capture-record.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';

/** What every trigger of ours, and every guarded one of the users, asks (trigger-guard.ts). */
const NAME = '_antiphon_guard';

/** Has a row only inside the applier's transaction, so nobody else ever sees one. */
const GUARD = `CREATE VIEW ${NAME} AS SELECT 1 AS applying FROM _antiphon_state WHERE id = 1 AND applying`;

interface Found {
  readonly type: string;
  readonly name: string;
  readonly sql: string | null;
}

/** Whatever has the name of the guard; triggers have names of their own. */
function findGuard({ db }: Connection): Found | undefined {
  return db
    .prepare(
      `SELECT type, name, sql FROM sqlite_schema WHERE lower(name) = '${NAME}' AND type <> 'trigger'`,
      'object',
    )
    .get() as Found | undefined;
}

export function isGuardInPlace(connection: Connection): boolean {
  return findGuard(connection)?.sql === GUARD;
}

/** The caller sees to it that the state row has what the guard reads. */
export function putGuard(connection: Connection): void {
  const found = findGuard(connection);
  if (found?.sql === GUARD) return;
  if (found !== undefined) {
    if (keptTriggersFromFiring(connection)) keepAllUncaptured(connection);
    connection.db.exec(`DROP ${found.type} ${quoteName(found.name)}`);
  }
  connection.db.exec(GUARD);
}

/** Without any guard, or with one that cannot be read, every write has failed: nothing was lost. */
function keptTriggersFromFiring({ db }: Connection): boolean {
  try {
    return db.prepare(`SELECT 1 FROM ${NAME} LIMIT 1`, 'value').get() !== undefined;
  } catch {
    return false;
  }
}

function keepAllUncaptured({ db }: Connection): void {
  db.exec(
    `INSERT OR IGNORE INTO _antiphon_uncaptured
     SELECT DISTINCT tbl, 'the view ${NAME} was replaced by one that kept its triggers from firing'
     FROM _antiphon_capture`,
  );
}

/**
 * Puts the guard back in a transaction of its own, since the caller's was rolled back: the writes
 * of other programs fail without it. What cannot be done now is done at the next look.
 */
export function putGuardAlone(connection: Connection, assertOwned: () => void): void {
  try {
    if (isGuardInPlace(connection) || !connection.tryBegin()) return;
    assertOwned();
    uncounted(connection, () => putGuard(connection));
    connection.commit();
  } catch {
    connection.rollback();
  }
}
