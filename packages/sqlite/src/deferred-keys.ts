import { AntiphonError } from '@antiphon/core';
import { OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_UPDATE } from './capture-triggers.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { referencesBetween, type TableReference } from './references.js';

/**
 * Foreign keys that SQLite checks at COMMIT, where a violation would fail a whole group, and a synchronous one after the log has it.
 * So each write is checked when it ends, by the rows that it captured.
 */
export class DeferredKeys {
  readonly #checks: readonly { readonly sql: string; readonly reference: TableReference }[];

  constructor(
    private readonly connection: Connection,
    tables: readonly TrackedTable[],
  ) {
    this.#checks = referencesBetween(tables)
      .filter(({ deferred }) => deferred)
      .flatMap((reference) => [
        { sql: childCheck(reference), reference },
        { sql: parentCheck(reference), reference },
      ]);
  }

  /** Of the outbox rows after `from`. Throws CONSTRAINT. */
  verify(from: number): void {
    for (const { sql, reference } of this.#checks) {
      if (this.connection.statement(sql, 'value').get(from) === undefined) continue;
      const { child, parent } = reference;
      throw new AntiphonError(
        'CONSTRAINT',
        `FOREIGN KEY constraint failed: a row of ${child.name} refers to a row of ${parent.name} that is not there when the write ends.`,
        { context: { table: child.name } },
      );
    }
  }
}

/** Rows of the child that were written, and have no parent. */
function childCheck(reference: TableReference): string {
  const { child } = reference;
  const written = child.key
    .map((part) => `${collated(child, `r.${columnName(child, part.column)}`, part)} = o.n${part.column}`)
    .join(' AND ');
  return (
    `SELECT 1 FROM _antiphon_outbox AS o JOIN ${quoteName(child.name)} AS r ON ${written} ` +
    `WHERE o.seq > ? AND o.t = ${child.id} AND o.op IN (${OUTBOX_INSERT}, ${OUTBOX_UPDATE}) AND ${orphaned(reference)} LIMIT 1`
  );
}

/** Rows of the child whose parent went away or changed. */
function parentCheck(reference: TableReference): string {
  const { child, parent, pairs } = reference;
  const referring = pairs
    .map(
      ({ from, to }) => `r.${columnName(child, from)} = o.o${to.column} COLLATE ${quoteName(to.collation)}`,
    )
    .join(' AND ');
  return (
    `SELECT 1 FROM _antiphon_outbox AS o JOIN ${quoteName(child.name)} AS r ON ${referring} ` +
    `WHERE o.seq > ? AND o.t = ${parent.id} AND o.op IN (${OUTBOX_DELETE}, ${OUTBOX_UPDATE}) AND ${orphaned(reference)} LIMIT 1`
  );
}

function orphaned({ child, parent, pairs }: TableReference): string {
  const present = pairs.map(({ from }) => `r.${columnName(child, from)} IS NOT NULL`).join(' AND ');
  const same = pairs
    .map(
      ({ from, to }) =>
        `p.${columnName(parent, to.column)} = r.${columnName(child, from)} COLLATE ${quoteName(to.collation)}`,
    )
    .join(' AND ');
  return `${present} AND NOT EXISTS (SELECT 1 FROM ${quoteName(parent.name)} AS p WHERE ${same})`;
}
