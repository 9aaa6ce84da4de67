import type { Connection } from './connection.js';
import { OUTBOX_INSERT } from './outbox-kinds.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { CHUNK_ROWS, type Outbox } from './outbox.js';
import type { Pace } from './pace.js';
import type { Sealer } from './seal.js';

/**
 * Seals the rows that a table had before it was replicated, as transactions of up to CHUNK_ROWS
 * rows in key order. They go through the outbox, page by page: the same way as any insert, with
 * memory and disk bounded by a page.
 */
export async function sealExistingRows(
  connection: Connection,
  outbox: Outbox,
  sealer: Sealer,
  table: TrackedTable,
  pace: Pace,
): Promise<void> {
  const key = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
  const columns = table.columns.map((_, index) => columnName(table, index)).join(', ');
  const images = table.columns.map((_, index) => `n${index}`).join(', ');
  const last = `SELECT ${table.key.map(({ column }) => `n${column}`).join(', ')} FROM _antiphon_outbox WHERE seq = ?`;
  const page = (where: string): string =>
    `INSERT INTO _antiphon_outbox (t, op, ${images}) SELECT ${table.id}, ${OUTBOX_INSERT}, ${columns} FROM ${quoteName(table.name)} ` +
    `${where} ORDER BY ${key} LIMIT ${CHUNK_ROWS}`;
  const first = connection.db.prepare(page(''));
  const next = connection.db.prepare(page(`WHERE (${key}) > (${last})`));

  outbox.clear();
  let from = 0;
  let { changes } = first.run();
  while (changes > 0) {
    const to = outbox.lastSeq();
    await sealer.seal(from, [{ end: to }], pace);
    // The newest row stays as the place where the next page starts.
    outbox.forget(to - 1);
    ({ changes } = next.run(to));
    from = to;
  }
  outbox.clear();
}
