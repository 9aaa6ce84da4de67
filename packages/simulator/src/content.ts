import type { SimulatedDatabase } from './database.js';
import { quote } from './schema/index.js';
import { orphansIn } from './sqlite-copy.js';

/**
 * Everything of a replicated table, as sorted texts that are exact to type and byte: rows,
 * versions, hidden rows.
 */
export function contentOf(
  database: SimulatedDatabase,
  table: string,
): ReadonlyMap<string, readonly string[]> {
  if (!database.isReplica) return new Map();
  const [[id] = []] = database.read('SELECT id FROM _antiphon_tables WHERE name = ?', table);
  const content = new Map<string, readonly string[]>();
  const names = { row: table, version: `_antiphon_v${String(id)}`, hidden: `_antiphon_d${String(id)}` };
  for (const [kind, name] of Object.entries(names)) content.set(kind, textsOf(database, name));
  return content;
}

function textsOf(database: SimulatedDatabase, table: string): readonly string[] {
  const columns = database.read('SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1', table);
  if (columns.length === 0) return [];
  const shown = columns.map(([name]) => {
    const column = quote(String(name));
    return `typeof(${column}) || ':' || quote(${column}) || ':' || hex(CAST(${column} AS BLOB))`;
  });
  const rows = database.read(`SELECT ${shown.join(` || ', ' || `)} FROM ${quote(table)}`);
  return rows.map(([text]) => String(text)).sort();
}

/** Children without a parent. */
export function orphansOf(database: SimulatedDatabase): readonly string[] {
  return orphansIn((sql) => database.read(sql).map(([text]) => String(text)));
}
