import { compareVersions, type Row, type Value, type Version } from '@antiphon/core';
import type { Connection } from './connection.js';
import { isUniqueViolation } from './errors.js';
import { FIRST_CLAIM, OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_UPDATE } from './outbox-kinds.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable, type UniqueIndex } from './local-table.js';
import { hiddenTable, keyNames, versionTable } from './metadata.js';
import type { RowStatements } from './row-statements.js';
import type { ReplicaState, Unsettled } from './state.js';
import { bindingOf, type SqliteValue } from './values.js';

/**
 * Rows of a table that are noted one by one; when more may have come free, all of them are looked
 * at.
 */
const MAX_NOTED = 10_000;

/** A row by its place in the hidden table, with the version it has. */
interface Waiting extends Version {
  readonly place: bigint;
}

/**
 * Two replicas may give different rows the same value of a secondary unique key. Every replica then
 * shows the same ones: going down by version, a row is visible unless a visible row of a higher
 * version collides with it; the others are hidden by a unique-key conflict (kept apart, with their
 * content). What is visible is a function of the winning contents alone, so it does not depend on
 * the order in which changes came (I4).
 *
 * Kept up incrementally: a row that changes, appears or goes can only change the lot of lower rows
 * that collide with it.
 */
export class HiddenRows {
  /** How many more rows of the table in hand are hidden than before. */
  #more = 0;

  constructor(private readonly connection: Connection) {}

  /** How many rows of a table are hidden. */
  count(table: TrackedTable): number {
    return this.connection.statement(`SELECT count(*) FROM ${hiddenTable(table)}`, 'value').get() as number;
  }

  /**
   * Writes winning changes. As long as nothing collides and nothing is hidden this is an ordinary
   * write.
   */
  write(
    state: ReplicaState,
    statements: RowStatements,
    kind: 'upsert' | 'delete',
    rows: readonly Row[],
  ): void {
    const { table } = statements;
    if ((state.hidden[table.id] ?? 0) === 0) {
      try {
        if (kind === 'upsert') statements.upsert(rows);
        else statements.delete(rows);
        return;
      } catch (thrown) {
        if (kind === 'delete' || !isUniqueViolation(thrown)) throw thrown;
      }
    }
    this.#more = 0;
    this.#place(table, rows, kind === 'upsert');
    this.#countMore(state, table);
  }

  #countMore(state: ReplicaState, table: TrackedTable): void {
    state.hidden[table.id] = (state.hidden[table.id] ?? 0) + this.#more;
    this.#more = 0;
  }

  /**
   * Own changes in the outbox rows (from, to] may have freed what hidden rows wait for, or taken
   * over their keys. Rows are moved by the applier only, whose connection does not follow foreign
   * keys: here they are only noted. Before these changes have their versions.
   */
  noteSealed(state: ReplicaState, tables: readonly TrackedTable[], from: number, to: number): void {
    for (const table of tables) {
      if ((state.hidden[table.id] ?? 0) === 0) continue;
      this.forgetTakenOver(state, table, from, to);
      const places = this.#overwrites(table, from, to) ? undefined : this.#freed(table, from, to);
      if (places?.length === 0) continue;
      this.connection.statement('INSERT OR IGNORE INTO _antiphon_unsettled VALUES (?)').run(table.id);
      state.unsettled = [
        ...state.unsettled.filter((noted) => noted.table !== table.id),
        together(state, table, places),
      ];
    }
  }

  /** Looks at the noted rows again. */
  settle(state: ReplicaState, tables: readonly TrackedTable[]): void {
    for (const table of tables) {
      const noted = state.unsettled.find((one) => one.table === table.id);
      if (noted === undefined) continue;
      const waiting = new WaitingRows();
      const known = noted.rows?.schemaCookie === state.schemaCookie ? noted.rows.places : undefined;
      this.#addPlaces(table, waiting, known ?? this.#unblocked(table));
      this.#more = 0;
      this.#settle(table, waiting);
      this.#countMore(state, table);
    }
  }

  /** REPLACE has written a row over one that was there: what that one was is not known. */
  #overwrites(table: TrackedTable, from: number, to: number): boolean {
    const same = table.key
      .map(({ column }, index) => `v.${keyNames(table)[index] ?? ''} = x.n${column}`)
      .join(' AND ');
    const here = `x.seq > ?1 AND x.seq <= ?2 AND x.t = ${table.id}`;
    const [first] = table.key;
    return (
      this.connection
        .statement(
          `SELECT EXISTS (SELECT 1 FROM _antiphon_outbox AS x ` +
            `CROSS JOIN ${versionTable(table)} AS v ON ${same} ` +
            `WHERE ${here} AND x.op = ${OUTBOX_INSERT} AND v.dead = 0) ` +
            // Deleted since: a deletion as the net effect of several changes has a new image, too.
            `OR EXISTS (SELECT 1 FROM _antiphon_outbox AS x ` +
            `WHERE ${here} AND x.op = ${OUTBOX_DELETE} AND x.n${first?.column ?? 0} IS NOT NULL)`,
          'value',
        )
        .get(from, to) === 1
    );
  }

  /**
   * Hidden rows but for those that a visible row of a higher version certainly stands in the way
   * of.
   */
  #unblocked(table: TrackedTable): bigint[] {
    const version = (alias: string, row: string): string => {
      const same = table.key
        .map(
          (part, index) =>
            `${alias}.${keyNames(table)[index] ?? ''} = ${row}.${columnName(table, part.column)}`,
        )
        .join(' AND ');
      return `LEFT JOIN ${versionTable(table)} AS ${alias} ON ${same}`;
    };
    const blocked = table.uniqueIndexes
      .filter(({ where }) => where === undefined)
      .map(
        (index) =>
          `NOT EXISTS (SELECT 1 FROM ${quoteName(table.name)} AS c ${version('cv', 'c')} ` +
          `WHERE ${sameUnique(table, index, 'c', 'd')} ` +
          'AND (cv.time, cv.origin, cv.counter) > ' +
          `(coalesce(dv.time, 0), coalesce(dv.origin, ''), coalesce(dv.counter, 0)))`,
      );
    const condition = blocked.length === 0 ? '' : ` WHERE ${blocked.join(' AND ')}`;
    return this.connection
      .statement(
        `SELECT d.rowid FROM ${hiddenTable(table)} AS d ${version('dv', 'd')}${condition}`,
        'exact value',
      )
      .all() as bigint[];
  }

  /**
   * Hidden rows with a unique value that a row had before these changes, and need not have any
   * more.
   */
  #freed(table: TrackedTable, from: number, to: number): bigint[] {
    const freed = new Set<bigint>();
    for (const index of table.uniqueIndexes) {
      const same = index.columns
        .map(
          ({ column, collation }) =>
            `d.${columnName(table, column)} = x.o${column} COLLATE ${quoteName(collation)}`,
        )
        .join(' AND ');
      // A row also leaves a partial index by what is not in it.
      const left =
        index.where === undefined
          ? ` AND (x.op = ${OUTBOX_DELETE} OR ` +
            `${index.columns.map(({ column }) => `x.n${column} IS NOT x.o${column}`).join(' OR ')})`
          : '';
      const places = this.connection
        .statement(
          `SELECT d.rowid FROM _antiphon_outbox AS x CROSS JOIN ${hiddenTable(table)} AS d ON ${same} ` +
            `WHERE x.seq > ? AND x.seq <= ? AND x.t = ${table.id} ` +
            `AND x.op IN (${OUTBOX_UPDATE}, ${OUTBOX_DELETE})${left}`,
          'exact value',
        )
        .all(from, to) as bigint[];
      for (const place of places) freed.add(place);
    }
    return [...freed];
  }

  /**
   * The key of a hidden row was written again in the outbox rows (from, to]: the new content has
   * replaced it.
   */
  forgetTakenOver(state: ReplicaState, table: TrackedTable, from: number, to: number): void {
    if ((state.hidden[table.id] ?? 0) === 0) return;
    const same = table.key
      .map(
        (part) =>
          `${collated(table, `d.${columnName(table, part.column)}`, part)} = ` +
          `CASE x.op WHEN ${OUTBOX_DELETE} THEN x.o${part.column} ELSE x.n${part.column} END`,
      )
      .join(' AND ');
    const name = hiddenTable(table);
    this.#more = -this.connection
      .statement(
        `DELETE FROM ${name} WHERE rowid IN (SELECT d.rowid FROM _antiphon_outbox AS x ` +
          `CROSS JOIN ${name} AS d ON ${same} WHERE x.seq > ? AND x.seq <= ? AND x.t = ${table.id} AND x.op < ${FIRST_CLAIM})`,
      )
      .run(from, to).changes;
    this.#countMore(state, table);
  }

  /**
   * Gives keys their new content, or none, and settles every row that this can touch. What was
   * there goes first, all of it: its keys have their new versions already.
   */
  #place(table: TrackedTable, rows: readonly Row[], present: boolean): void {
    const waiting = new WaitingRows();
    for (const row of rows) {
      this.#takeOut(table, waiting, row);
      if (present) this.#putAside(table, waiting, row);
    }
    this.#settle(table, waiting);
  }

  /** Hidden rows that collide with the content of its key may come back. */
  #takeOut(table: TrackedTable, waiting: WaitingRows, row: Row): void {
    const keyBindings = table.key.map(({ column }) => bindingOf(row[column] as Value));
    const key = keyBindings.map(({ value }) => value);
    const condition = (alias: string): string =>
      table.key
        .map(
          (part, index) =>
            `${collated(table, `${alias}.${columnName(table, part.column)}`, part)} = ` +
            `${keyBindings[index]?.expression ?? '?'}`,
        )
        .join(' AND ');
    const visible = quoteName(table.name);
    this.#addColliding(table, waiting, `(SELECT * FROM ${visible} AS self WHERE ${condition('self')})`, key);
    this.connection.statement(`DELETE FROM ${visible} AS self WHERE ${condition('self')}`).run(...key);
    this.#more -= this.connection
      .statement(`DELETE FROM ${hiddenTable(table)} AS self WHERE ${condition('self')}`)
      .run(...key).changes;
  }

  /** Hidden, until it is settled. */
  #putAside(table: TrackedTable, waiting: WaitingRows, row: Row): void {
    const bindings = row.map(bindingOf);
    const tuple = bindings.map(({ expression }) => expression).join(', ');
    const place = this.connection
      .statement(`INSERT INTO ${hiddenTable(table)} (${columnList(table)}) VALUES (${tuple})`, 'exact object')
      .run(...bindings.map(({ value }) => value)).lastInsertRowid as bigint;
    this.#more++;
    this.#addPlaces(table, waiting, [place]);
  }

  /**
   * From the highest version down: shows each row unless a visible one collides that is not lower,
   * and moves lower visible ones aside. Ends, since only a higher row takes another one's place.
   */
  #settle(table: TrackedTable, waiting: WaitingRows): void {
    for (let taken = waiting.takeHighest(); taken !== undefined; taken = waiting.takeHighest()) {
      const highest = this.#waitingAt(table, taken.place);
      if (highest === undefined) continue;
      if (compareVersions(highest, taken) !== 0) {
        // It is shown by now, and another one was hidden in its place.
        waiting.add(highest);
        continue;
      }
      const colliders = this.#visibleColliders(table, highest.place);
      if (colliders.some((collider) => compareVersions(collider, highest) >= 0)) continue;
      for (const collider of colliders) this.#hide(table, waiting, collider);
      this.#show(table, highest.place);
    }
  }

  #show(table: TrackedTable, place: bigint): void {
    const columns = columnList(table);
    const name = hiddenTable(table);
    this.connection
      .statement(
        `INSERT OR ABORT INTO ${quoteName(table.name)} (${columns}) SELECT ${columns} FROM ${name} WHERE rowid = ?`,
      )
      .run(place);
    this.#more -= this.connection.statement(`DELETE FROM ${name} WHERE rowid = ?`).run(place).changes;
  }

  /** Moves a visible row aside; lower hidden rows that collide with it may come back. */
  #hide(table: TrackedTable, waiting: WaitingRows, collider: Collider): void {
    const columns = columnList(table);
    const visible = quoteName(table.name);
    const condition = table.key
      .map((part, index) => {
        const value = collider.texts[index] === true ? 'CAST(? AS TEXT)' : '?';
        return `${collated(table, `self.${columnName(table, part.column)}`, part)} = ${value}`;
      })
      .join(' AND ');
    const where = collider.rowid === undefined ? condition : 'self.rowid = ?';
    const bound = collider.rowid === undefined ? collider.key : [collider.rowid];
    this.#addColliding(table, waiting, `(SELECT * FROM ${visible} AS self WHERE ${where})`, bound);
    this.connection
      .statement(
        `INSERT INTO ${hiddenTable(table)} (${columns}) SELECT ${columns} FROM ${visible} AS self WHERE ${where}`,
      )
      .run(...bound);
    this.#more++;
    this.connection.statement(`DELETE FROM ${visible} AS self WHERE ${where}`).run(...bound);
  }

  /** Adds hidden rows that collide with any row of `source`, which has the table's columns. */
  #addColliding(
    table: TrackedTable,
    waiting: WaitingRows,
    source: string,
    parameters: readonly SqliteValue[],
  ): void {
    table.uniqueIndexes.forEach((index) => {
      const places = this.connection
        .statement(
          `SELECT d.rowid FROM ${source} AS s JOIN ${hiddenTable(table)} AS d ` +
            `ON ${sameUnique(table, index, 'd', 's')}`,
          'exact value',
        )
        .all(...parameters) as bigint[];
      this.#addPlaces(table, waiting, places);
    });
  }

  #addPlaces(table: TrackedTable, waiting: WaitingRows, places: readonly bigint[]): void {
    for (const place of places) {
      const row = this.#waitingAt(table, place);
      if (row !== undefined) waiting.add(row);
    }
  }

  /** Undefined when no hidden row is there any more. */
  #waitingAt(table: TrackedTable, place: bigint): Waiting | undefined {
    const same = table.key
      .map((part, index) => `v.${keyNames(table)[index] ?? ''} = d.${columnName(table, part.column)}`)
      .join(' AND ');
    const version = this.connection
      .statement(
        // A row without a version is older than versions: it gives way to any other.
        `SELECT coalesce(v.time, 0) AS time, coalesce(v.origin, '') AS origin, coalesce(v.counter, 0) AS counter ` +
          `FROM ${hiddenTable(table)} AS d LEFT JOIN ${versionTable(table)} AS v ON ${same} WHERE d.rowid = ?`,
      )
      .get(place) as Version | undefined;
    return version && { ...version, place };
  }

  #visibleColliders(table: TrackedTable, place: bigint): Collider[] {
    const found = new Map<string, Collider>();
    // Text that is not UTF-8 cannot be given back as it was read: it is read, and given back, by
    // its bytes.
    const keys = table.key.flatMap(({ column }) => {
      const name = `c.${columnName(table, column)}`;
      return [
        `typeof(${name}) = 'text'`,
        `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) ELSE ${name} END`,
      ];
    });
    const same = table.key
      .map((part, index) => `v.${keyNames(table)[index] ?? ''} = c.${columnName(table, part.column)}`)
      .join(' AND ');
    for (const index of table.uniqueIndexes) {
      const inIndex = (name: string, alias: string): string =>
        index.where === undefined
          ? name
          : `(SELECT *${hasRowid(table) ? ', rowid' : ''} FROM ${name} AS ${alias} WHERE ${index.where})`;
      const mine =
        index.where === undefined
          ? hiddenTable(table)
          : `(SELECT *, rowid FROM ${hiddenTable(table)} AS ${quoteName(table.name)} WHERE ${index.where})`;
      const rows = this.connection
        .statement(
          `SELECT v.time, v.origin, v.counter, ${hasRowid(table) ? 'c.rowid' : 'NULL'}, ${keys.join(', ')} ` +
            `FROM ${mine} AS d ` +
            `JOIN ${inIndex(quoteName(table.name), quoteName(table.name))} AS c ` +
            `ON ${sameUnique(table, index, 'c', 'd')} ` +
            `LEFT JOIN ${versionTable(table)} AS v ON ${same} WHERE d.rowid = ?`,
          'exact array',
        )
        .all(place) as [bigint | null, string | null, bigint | null, bigint | null, ...SqliteValue[]][];
      for (const [time, origin, counter, rowid, ...parts] of rows) {
        const texts = parts.filter((_, at) => at % 2 === 0).map((isText) => isText === 1n);
        const key = parts.filter((_, at) => at % 2 === 1);
        const identity = rowid === null ? identityOf(parts) : String(rowid);
        found.set(identity, {
          time: Number(time ?? 0n),
          origin: origin ?? '',
          counter: Number(counter ?? 0n),
          rowid: rowid ?? undefined,
          key,
          texts,
        });
      }
    }
    return [...found.values()];
  }
}

/** Noted before, and now. */
function together(
  state: ReplicaState,
  table: TrackedTable,
  places: readonly bigint[] | undefined,
): Unsettled {
  const { schemaCookie } = state;
  const before = state.unsettled.find((noted) => noted.table === table.id);
  const known =
    before === undefined ? [] : before.rows?.schemaCookie === schemaCookie ? before.rows.places : undefined;
  if (places === undefined || known === undefined || known.length + places.length > MAX_NOTED)
    return { table: table.id };
  return { table: table.id, rows: { places: [...known, ...places], schemaCookie } };
}

interface Collider extends Version {
  readonly rowid: bigint | undefined;
  readonly key: readonly SqliteValue[];
  /** Which parts of the key are text, here by its bytes. */
  readonly texts: readonly boolean[];
}

function identityOf(values: readonly SqliteValue[]): string {
  return JSON.stringify(
    values.map((value) => {
      if (typeof value === 'bigint') return `${value}n`;
      return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
    }),
  );
}

/**
 * A user's column may be called rowid, and a generated one is not listed; the key serves as well
 * then.
 */
function hasRowid(table: TrackedTable): boolean {
  const isNamed = table.columns.some(({ name }) => name.toLowerCase() === 'rowid');
  return table.hasRowid && !table.hasGeneratedColumns && !isNamed;
}

function columnList(table: TrackedTable): string {
  return table.columns.map((_, index) => columnName(table, index)).join(', ');
}

function sameUnique(table: TrackedTable, index: UniqueIndex, left: string, right: string): string {
  return index.columns
    .map(
      ({ column, collation }) =>
        `${left}.${columnName(table, column)} = ${right}.${columnName(table, column)} COLLATE ${quoteName(collation)}`,
    )
    .join(' AND ');
}

/** Rows that wait to be looked at, each once, highest version first: a binary heap. */
class WaitingRows {
  readonly #heap: Waiting[] = [];
  readonly #places = new Set<bigint>();

  add(row: Waiting): void {
    if (this.#places.has(row.place)) return;
    this.#places.add(row.place);
    const heap = this.#heap;
    let at = heap.push(row) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#swapIfHigher(at, parent)) return;
      at = parent;
    }
  }

  takeHighest(): Waiting | undefined {
    const heap = this.#heap;
    const [highest] = heap;
    const last = heap.pop();
    if (highest === undefined || last === undefined) return undefined;
    this.#places.delete(highest.place);
    if (heap.length === 0) return highest;
    heap[0] = last;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      const right = left + 1;
      const child = this.#isHigher(right, left) ? right : left;
      if (!this.#swapIfHigher(child, at)) return highest;
      at = child;
    }
  }

  #isHigher(index: number, than: number): boolean {
    const row = this.#heap[index];
    const other = this.#heap[than];
    return row !== undefined && other !== undefined && compareVersions(row, other) > 0;
  }

  #swapIfHigher(index: number, than: number): boolean {
    const row = this.#heap[index];
    const other = this.#heap[than];
    if (row === undefined || other === undefined || !this.#isHigher(index, than)) return false;
    this.#heap[index] = other;
    this.#heap[than] = row;
    return true;
  }
}
