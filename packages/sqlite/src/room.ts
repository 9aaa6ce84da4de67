import type { Connection } from './connection.js';

/** Takes up room for a moment, to see whether there is some. */
export const ROOM = `CREATE TABLE IF NOT EXISTS _antiphon_room (
   id INTEGER PRIMARY KEY CHECK (id = 1), filler BLOB NOT NULL)`;

/** More than what SQLite may have reserved, and less than many a transaction. */
const ROOM_BYTES = 64 * 1024;

export const NO_COMMIT = 'The database takes no commit';

/** By another program. Nothing is written. */
export function isLocked(connection: Connection): boolean {
  if (connection.inTransaction) return false;
  if (!connection.tryBegin()) return true;
  connection.rollback();
  return false;
}

/** In two transactions: what the first one takes up is written only when it is committed. */
export async function tryRoom(
  connection: Connection,
  transaction: (work: () => void) => Promise<void>,
): Promise<void> {
  const fill = connection.statement('INSERT OR REPLACE INTO _antiphon_room VALUES (1, randomblob(?))');
  await transaction(() => void fill.run(ROOM_BYTES));
  await transaction(() => void connection.statement('DELETE FROM _antiphon_room').run());
}
