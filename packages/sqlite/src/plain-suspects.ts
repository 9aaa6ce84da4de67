import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import type { TrackedTable } from './local-table.js';
import { OUTBOX_INSERT, OUTBOX_SUSPECT, OUTBOX_UPDATE } from './outbox-kinds.js';

/**
 * Decides about suspects that were captured directly before what was done about them: the row was
 * updated, as an upsert does it, or replaced by one of the same key. Both are common where every
 * row whose key is taken is a suspect, and looking at each by itself takes twenty times as long.
 * Not where triggers of the table itself may have done something about the row in between.
 */
export function settlePlainSuspects(connection: Connection, table: TrackedTable, from: number): void {
  if (table.hasTriggers) return;
  connection.statement(replacedSql(table)).run(from, from);
  connection.statement(updatedSql(table)).run(from);
}

/** An insert directly behind a suspect with its key has replaced it. */
function replacedSql(table: TrackedTable): string {
  const list = (prefix: string): string => table.columns.map((_, column) => `${prefix}${column}`).join(', ');
  const same = table.key.map(({ column }) => sameSql(`s.o${column}`, `x.n${column}`));
  const suspect =
    `FROM _antiphon_outbox AS s WHERE s.seq = x.seq - 1 AND s.seq > ? AND s.t = ${table.id} ` +
    `AND s.op = ${OUTBOX_SUSPECT} AND ${balanced(same, 'AND')}`;
  return (
    `UPDATE _antiphon_outbox AS x SET op = ${OUTBOX_UPDATE}, (${list('o')}) = ` +
    `(SELECT ${list('s.o')} FROM _antiphon_outbox AS s WHERE s.seq = x.seq - 1) ` +
    `WHERE x.seq > ? AND x.t = ${table.id} AND x.op = ${OUTBOX_INSERT} AND EXISTS (SELECT 1 ${suspect})`
  );
}

/** The row that an update directly behind it has found is still the suspect. */
function updatedSql(table: TrackedTable): string {
  const same = table.columns.map((_, column) => sameSql(`u.o${column}`, `s.o${column}`));
  return (
    `DELETE FROM _antiphon_outbox AS s WHERE s.seq > ? AND s.t = ${table.id} AND s.op = ${OUTBOX_SUSPECT} ` +
    `AND EXISTS (SELECT 1 FROM _antiphon_outbox AS u WHERE u.seq = s.seq + 1 AND u.t = ${table.id} ` +
    `AND u.op = ${OUTBOX_UPDATE} AND ${balanced(same, 'AND')})`
  );
}

function sameSql(left: string, right: string): string {
  return `${left} IS ${right} COLLATE BINARY AND typeof(${left}) = typeof(${right})`;
}
