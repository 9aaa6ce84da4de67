import { balanced } from './balanced.js';
import {
  definition,
  differ,
  isUniqueMatch,
  NOT_ADMITTED,
  rowsIn,
  sameKey,
  values,
  type TriggerDefinition,
} from './capture-triggers.js';
import { quoteName } from './identifiers.js';
import { columnName, type TrackedTable, type UniqueIndex } from './local-table.js';
import { OUTBOX_FOUND, OUTBOX_REFERENCE, OUTBOX_REPLACED, OUTBOX_TOUCHED } from './outbox-kinds.js';
import { isCaptured, referencesBetween, type TableReference } from './references.js';
import { NOT_APPLYING } from './trigger-guard.js';

/**
 * Under the policy `library` others may not write; what changes nothing is not refused, and must
 * not leave a trace.
 */
function admitted(whom: 'anybody' | 'library'): string {
  return whom === 'library' ? ` WHERE NOT (${NOT_ADMITTED})` : '';
}

function andAdmitted(whom: 'anybody' | 'library'): string {
  return whom === 'library' ? ` AND NOT (${NOT_ADMITTED})` : '';
}

/**
 * An UPDATE that leaves a row as it is has written it all the same: who changed it meanwhile is in
 * conflict with that.
 */
function touched(table: TrackedTable, whom: 'anybody' | 'library'): TriggerDefinition {
  const key = table.key.map(({ column }) => `o${column}`).join(', ');
  const old = table.key.map(({ column }) => `OLD.${columnName(table, column)}`).join(', ');
  const valuesDiffer = differ(
    table,
    table.columns.map((_, index) => index),
  );
  return definition(table, 'touch', 'AFTER UPDATE', `${NOT_APPLYING} AND NOT (${valuesDiffer})`, [
    `INSERT INTO _antiphon_outbox (t, op, ${key}) SELECT ${table.id}, ${OUTBOX_TOUCHED}, ${old}${admitted(whom)}`,
  ]);
}

/**
 * A row that REPLACE overwrites by its primary key is captured as what it is now. What it was is
 * gone then: others may have referred to it by another key, or gone with it. Taken down before; a
 * row that stays after all is claimed for nothing.
 */
function replaced(table: TrackedTable, whom: 'anybody' | 'library'): TriggerDefinition[] {
  const row = '_antiphon_row';
  const images = table.columns.map((_, index) => `o${index}`).join(', ');
  const put =
    `INSERT INTO _antiphon_outbox (t, op, ${images}) SELECT ${table.id}, ${OUTBOX_REPLACED}, ${values(table, row)} ` +
    `FROM ${quoteName(table.name)} AS ${row} WHERE ${isUniqueMatch(table, table.key, row)}${andAdmitted(whom)}`;
  const keyDiffers = differ(
    table,
    table.key.map(({ column }) => column),
  );
  return [
    definition(table, 'replace_insert', 'BEFORE INSERT', NOT_APPLYING, [put]),
    definition(table, 'replace_update', 'BEFORE UPDATE', `${NOT_APPLYING} AND (${keyDiffers})`, [
      `${put} AND NOT (${sameKey(table, row, 'OLD')})`,
    ]),
  ];
}

/**
 * A row that keeps a new one out (OR IGNORE, DO NOTHING, DO UPDATE with a condition that does not
 * hold), or keeps an UPDATE OR IGNORE from its value: what the write does rests on it, and no
 * trigger fires afterwards. Where no row has the key or the unique value, this is one search of
 * each index.
 */
function found(table: TrackedTable, whom: 'anybody' | 'library'): TriggerDefinition[] {
  const row = '_antiphon_row';
  const key = table.key.map(({ column }) => `o${column}`).join(', ');
  const values = table.key.map(({ column }) => `${row}.${columnName(table, column)}`).join(', ');
  const unique: readonly Pick<UniqueIndex, 'columns' | 'where'>[] = [
    { columns: table.key },
    ...table.uniqueIndexes,
  ];
  const puts = unique.map(
    (index) =>
      `INSERT INTO _antiphon_outbox (t, op, ${key}) SELECT ${table.id}, ${OUTBOX_FOUND}, ${values} ` +
      `FROM ${rowsIn(table, index)} AS ${row} WHERE ${isUniqueMatch(table, index.columns, row)}${andAdmitted(whom)}`,
  );
  // The condition of a partial index may look at any column.
  const isPartial = table.uniqueIndexes.some(({ where }) => where !== undefined);
  const columns = isPartial
    ? table.columns.map((_, index) => index)
    : unique.flatMap((index) => index.columns.map(({ column }) => column));
  const mayMeet = differ(table, [...new Set(columns)]);
  return [
    definition(table, 'found_insert', 'BEFORE INSERT', NOT_APPLYING, puts),
    definition(
      table,
      'found_update',
      'BEFORE UPDATE',
      `${NOT_APPLYING} AND (${mayMeet})`,
      puts.map((put) => `${put} AND NOT (${sameKey(table, row, 'OLD')})`),
    ),
  ];
}

/**
 * References through columns that are not replicated, because they are generated: no captured row
 * shows their values.
 */
function references(table: TrackedTable, of: readonly TableReference[]): TriggerDefinition[] {
  const numbered = of.map((reference, number) => ({ reference, number }));
  const hidden = numbered.filter(({ reference }) => !isCaptured(reference));
  if (hidden.length === 0) return [];
  const puts = hidden.map(({ reference: { pairs }, number }) => {
    const images = pairs.map((_, index) => `n${index}`).join(', ');
    const referred = pairs.map(({ name }) => `NEW.${quoteName(name)}`).join(', ');
    return `INSERT INTO _antiphon_outbox (t, op, o0, ${images}) SELECT ${table.id}, ${OUTBOX_REFERENCE}, ${number}, ${referred}`;
  });
  const names = new Set(
    hidden.flatMap(({ reference: { pairs } }) => pairs.map(({ name }) => quoteName(name))),
  );
  const changed = balanced(
    [...names].map((name) => `OLD.${name} IS NOT NEW.${name}`),
    'OR',
  );
  return [
    definition(table, 'refer_insert', 'AFTER INSERT', NOT_APPLYING, puts),
    definition(table, 'refer_update', 'AFTER UPDATE', `${NOT_APPLYING} AND (${changed})`, puts),
  ];
}

/**
 * What certification needs to know of writes beyond the changes that they make: put into the
 * outbox, and never sent.
 */
export function claimTriggers(
  table: TrackedTable,
  tables: readonly TrackedTable[],
  whom: 'anybody' | 'library',
): TriggerDefinition[] {
  const all = referencesBetween(tables);
  const key = new Set(table.key.map(({ column }) => column));
  const losesByReplace = all.some(
    ({ parent, actsOnDelete, pairs }) =>
      parent === table && (actsOnDelete || pairs.some(({ to }) => !key.has(to.column))),
  );
  return [
    touched(table, whom),
    ...found(table, whom),
    ...(losesByReplace ? replaced(table, whom) : []),
    ...references(
      table,
      all.filter(({ child }) => child === table),
    ),
  ];
}
