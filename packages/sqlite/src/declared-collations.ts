import type { Connection } from './connection.js';
import { openDatabase } from './driver/find-driver.js';
import { quoteName } from './identifiers.js';

/**
 * The collation that each column of a table was declared with, in their order. No pragma tells it;
 * an index that names none has it, and is made in an empty database.
 */
export function declaredCollations(
  connection: Connection,
  table: string,
  columns: readonly string[],
): readonly string[] {
  const sql = connection.db
    .prepare(`SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?`, 'value')
    .get(table) as string;
  const scratch = openDatabase(':memory:');
  try {
    scratch.exec(sql);
    return columns.map((column, index) => {
      const name = `_antiphon_collation${index}`;
      scratch.exec(`CREATE INDEX ${name} ON ${quoteName(table)} (${quoteName(column)})`);
      return scratch
        .prepare('SELECT coll FROM pragma_index_xinfo(?) WHERE seqno = 0', 'value')
        .get(name) as string;
    });
  } finally {
    scratch.close();
  }
}
