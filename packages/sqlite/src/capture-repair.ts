import type { Connection } from './connection.js';
import { OUTBOX_DELETE, OUTBOX_INSERT } from './capture-triggers.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';

/**
 * A trigger that a user created a moment ago fired before ours, so what it did to a row may lie in the outbox ahead of what set it
 * off. Ends every row that was touched with what it is now; from the next transaction on ours fire first again.
 */
export function repairCapture(connection: Connection, table: TrackedTable): void {
  const list = (prefix: string): string => table.columns.map((_, index) => `${prefix}${index}`).join(', ');
  const keys = table.key
    .map(
      (part, index) =>
        `CASE op WHEN ${OUTBOX_INSERT} THEN n${part.column} ELSE o${part.column} END AS k${index}`,
    )
    .join(', ');
  const same = table.key
    .map((part, index) => `${collated(table, `r.${columnName(table, part.column)}`, part)} = e.k${index}`)
    .join(' AND ');
  const name = quoteName(table.name);
  const last = connection.db.prepare('SELECT max(seq) FROM _antiphon_outbox', 'value').get() as number | null;
  const values = table.columns.map((_, index) => `r.${columnName(table, index)}`).join(', ');
  connection.db
    .prepare(
      `INSERT INTO _antiphon_outbox (t, op, ${list('n')}) SELECT ${table.id}, ${OUTBOX_INSERT}, ${values}
       FROM (SELECT DISTINCT ${keys} FROM _antiphon_outbox WHERE t = ${table.id} AND seq <= ?) AS e JOIN ${name} AS r ON ${same}`,
    )
    .run(last);
  const partition = table.key
    .map((part) =>
      collated(table, `CASE op WHEN ${OUTBOX_INSERT} THEN n${part.column} ELSE o${part.column} END`, part),
    )
    .join(', ');
  connection.db
    .prepare(
      `INSERT INTO _antiphon_outbox (t, op, ${list('o')}) SELECT ${table.id}, ${OUTBOX_DELETE}, ${list('n')}
       FROM (SELECT *, ${keys}, row_number() OVER (PARTITION BY ${partition} ORDER BY seq DESC) AS age FROM _antiphon_outbox WHERE t = ${table.id} AND seq <= ?) AS e
       WHERE age = 1 AND op <> ${OUTBOX_DELETE} AND NOT EXISTS (SELECT 1 FROM ${name} AS r WHERE ${same})`,
    )
    .run(last);
}
