import { balanced } from './balanced.js';
import {
  FIRST_CLAIM,
  OUTBOX_DELETE,
  OUTBOX_INSERT,
  OUTBOX_SUSPECT,
  OUTBOX_UPDATE,
  TOTAL_JOINED,
  TOTAL_JOINED_MOVED,
  TOTAL_MOVED,
  TOTAL_PAIR,
  TOTAL_WITHIN,
} from './outbox-kinds.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, keyBytesMayDiffer, type TrackedTable } from './local-table.js';

/** First and last row, and how many there are of each kind. */
type Group = readonly [first: number, last: number, size: number, suspects: number];

interface SettleOptions {
  readonly apart: boolean;
  readonly unasked: boolean;
}

/** Captured rows from `first` to `last` that are one transaction now. */
interface Join {
  readonly first: number;
  readonly last: number;
  readonly keepsLast: boolean;
}

/**
 * More captured changes of one row than this are not searched for its first image: the oldest one
 * is taken.
 */
const MAX_SEARCHED = 32;

/**
 * Makes what was captured of a row that changed several times in one transaction into its net
 * effect: what the row is now, once. SQLite runs foreign-key actions and triggers inside of the
 * statement that causes them, and AFTER triggers of the cause see the row as it was before they
 * ran. So the order of captured images is not the order of what happened, and the last one may be
 * stale. What is certain is the row itself, while the transaction that changed it is the last one.
 *
 * Suspects (rows that REPLACE may have deleted unseen) are decided in the same way: a row that is
 * not there was deleted.
 */
export class NetEffect {
  constructor(
    private readonly connection: Connection,
    /**
     * A row whose key another one takes is always a suspect: what was inserted first was not there
     * before. It must come back as that if the changes are undone.
     */
    private readonly undoable = false,
  ) {}

  /**
   * For captured rows after `from`, which must be the newest: changes of one transaction, or of all
   * that are pending. `apart`: these may be several transactions. What lies between the first
   * change of a row and the last one becomes one, since the states in between are not known.
   * `unasked`: rows of the table may have changed inside of other changes, so that even the only
   * change of a row may not be what the row is: a BEFORE trigger may have changed it, and its cause
   * have taken that back or replaced the row.
   */
  settle(table: TrackedTable, from: number, how: SettleOptions): void {
    for (const _ of this.steps(table, from, how));
  }

  /** The same, row by row: transactions of other programs may have changed any number. */
  *steps(table: TrackedTable, from: number, { apart, unasked }: SettleOptions): Generator<void> {
    const { connection } = this;
    connection.db.exec(
      `CREATE TEMP TABLE IF NOT EXISTS _antiphon_net
       (seq INTEGER PRIMARY KEY, first INTEGER, last INTEGER, op INTEGER, size INTEGER);
       CREATE INDEX IF NOT EXISTS temp._antiphon_net_first ON _antiphon_net (first)`,
    );
    connection.statement('DELETE FROM temp._antiphon_net').run();
    const found = connection.statement(membersSql(table, unasked)).run(from).changes;
    if (found === 0) return;
    const groups = connection
      .statement(
        `SELECT first, last, max(size) AS size, sum(op = ${OUTBOX_SUSPECT}) AS suspects
         FROM temp._antiphon_net GROUP BY first ORDER BY first`,
        'array',
      )
      .all() as Group[];
    const joins: Join[] = [];
    for (const group of groups) {
      const kept = this.#settleGroup(table, group);
      if (kept !== 'all') joins.push({ first: group[0], last: group[1], keepsLast: kept === 'last' });
      yield;
    }
    if (apart) this.#join(joins);
    connection
      .statement('DELETE FROM _antiphon_outbox WHERE seq IN (SELECT m.seq FROM temp._antiphon_net AS m)')
      .run();
    connection.statement('DELETE FROM temp._antiphon_net').run();
  }

  /** Which of its rows are in the place where they were captured. */
  #settleGroup(table: TrackedTable, [first, last, size, suspects]: Group): 'all' | 'last' | 'none' {
    const present = this.connection.statement(presentSql(table), 'value').get(first) === 1;
    const firstOp = this.connection
      .statement('SELECT op FROM _antiphon_outbox WHERE seq = ?', 'value')
      .get(first) as number;
    const existed = this.#existed(first, firstOp, present);
    if (this.undoable && !present && !existed && first !== last && firstOp <= OUTBOX_UPDATE) {
      this.#keepBoth(table, first, last);
      return 'last';
    }
    const image = existed ? this.#firstImage(table, first, size) : undefined;
    if (present && image !== undefined && this.#wasOnlySuspected(size, suspects)) return 'all';
    if (present) this.#keepUpsert(table, first, last, image);
    else this.#keepDelete(table, first, last, image);
    return present ? 'last' : 'none';
  }

  /**
   * Whether there was a row before the transaction. Undoable: inserts and deletions say so, but for
   * what REPLACE deleted unseen; the order of what was captured need not be that of what happened.
   */
  #existed(first: number, firstOp: number, present: boolean): boolean {
    // What is not there any more may have been there before: an insert may have replaced a row of
    // its own key unseen.
    if (!this.undoable) return !present || firstOp !== OUTBOX_INSERT;
    const [gone = 0, suspects = 0, before = 0] = this.connection
      .statement(EXISTENCE, 'array')
      .get(first) as readonly number[];
    const unseen = 1 - Number(present) - gone;
    if (unseen <= 0 || firstOp === OUTBOX_SUSPECT) return true;
    // What is there again was replaced before it was inserted.
    return (present ? before : suspects) >= unseen && firstOp !== OUTBOX_INSERT;
  }

  /** What came and went goes as both: a deletion alone would say that it had been there before. */
  #keepBoth(table: TrackedTable, first: number, last: number): void {
    const { connection } = this;
    connection.statement(takeNewOfSql(table)).run(first, last);
    connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_INSERT} WHERE seq = ?`).run(first);
    connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_DELETE} WHERE seq = ?`).run(last);
    this.#keep(first);
    this.#keep(last);
  }

  /**
   * No transaction begins between the first row of a group and its last one. Where it begins and
   * ends is told by their counts, which the first row that stays takes over. `joins` by their first
   * row.
   */
  #join(joins: readonly Join[]): void {
    let open: Join | undefined;
    for (const join of joins) {
      if (open !== undefined && join.first <= open.last) {
        const later = join.last > open.last ? join : open;
        open = { ...later, first: open.first };
        continue;
      }
      if (open !== undefined) this.#joinRows(open);
      open = join;
    }
    if (open !== undefined) this.#joinRows(open);
  }

  #joinRows({ first, last, keepsLast }: Join): void {
    if (first === last) return;
    const { connection } = this;
    const head = connection
      .statement(
        `SELECT min(seq) FROM _antiphon_outbox WHERE seq >= ? AND seq <= ?
         AND seq NOT IN (SELECT seq FROM temp._antiphon_net)`,
        'value',
      )
      .get(first, last) as number;
    if (head > first) connection.statement(TAKE_COUNTS).run(first, last, head);
    connection
      .statement(
        `UPDATE _antiphon_outbox SET total = iif(${IS_MOVED}, ${TOTAL_MOVED}, ${TOTAL_WITHIN})
         WHERE seq > ? AND seq < ?`,
      )
      .run(head, last);
    if (head === last || !keepsLast) return;
    connection
      .statement(
        `UPDATE _antiphon_outbox SET total = ${TOTAL_MOVED} - 1 - total WHERE seq = ? AND total >= 0`,
      )
      .run(last);
  }

  #wasOnlySuspected(size: number, suspects: number): boolean {
    return size === suspects;
  }

  /** The number of the captured row whose old image is what the row was before the transaction. */
  #firstImage(table: TrackedTable, first: number, size: number): number | undefined {
    const { connection } = this;
    const initial =
      size > MAX_SEARCHED ? undefined : connection.statement(initialSql(table), 'value').get(first, first);
    return (initial ??
      connection
        .statement(
          `SELECT min(seq) FROM temp._antiphon_net WHERE first = ? AND op <> ${OUTBOX_INSERT}`,
          'value',
        )
        .get(first) ??
      undefined) as number | undefined;
  }

  /**
   * In the place of the last one; a key whose bytes have changed goes as a delete and an insert.
   */
  #keepUpsert(table: TrackedTable, first: number, last: number, image: number | undefined): void {
    const { connection } = this;
    connection.statement(takeRowSql(table)).run(last);
    if (image === undefined) {
      connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_INSERT} WHERE seq = ?`).run(last);
    } else {
      connection.statement(takeOldSql(table)).run(image, last);
      connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_UPDATE} WHERE seq = ?`).run(last);
      if (first !== last && this.#keyChanged(table, last)) {
        connection.statement(takeOldSql(table)).run(last, first);
        connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_DELETE} WHERE seq = ?`).run(first);
        connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_INSERT} WHERE seq = ?`).run(last);
        this.#keep(first);
      }
    }
    this.#keep(last);
  }

  /**
   * In the place of the first one: it makes room for what comes after. It was made when the last
   * one was.
   */
  #keepDelete(table: TrackedTable, first: number, last: number, image: number | undefined): void {
    const { connection } = this;
    if (first !== last) connection.statement(TAKE_TIME).run(last, first);
    if (image === undefined) connection.statement(takeNewAsOldSql(table)).run(first);
    else if (image !== first) connection.statement(takeOldSql(table)).run(image, first);
    connection.statement(`UPDATE _antiphon_outbox SET op = ${OUTBOX_DELETE} WHERE seq = ?`).run(first);
    this.#keep(first);
  }

  #keyChanged(table: TrackedTable, seq: number): boolean {
    const differs = table.key.some((part) => keyBytesMayDiffer(table, part));
    if (!differs) return false;
    const differ = table.key
      .map(
        ({ column }) =>
          `x.n${column} IS NOT x.o${column} COLLATE BINARY OR typeof(x.n${column}) <> typeof(x.o${column})`,
      )
      .join(' OR ');
    return (
      this.connection
        .statement(`SELECT 1 FROM _antiphon_outbox AS x WHERE x.seq = ? AND (${differ})`, 'value')
        .get(seq) === 1
    );
  }

  #keep(seq: number): void {
    this.connection.statement('DELETE FROM temp._antiphon_net WHERE seq = ?').run(seq);
  }
}

/**
 * Of a group: deletions without insertions, where a suspect directly before an insert was replaced
 * by it; and suspects, all of them and those before the last insert.
 */
const EXISTENCE =
  'WITH m AS (SELECT seq, op, lag(op) OVER (ORDER BY seq) AS previous FROM temp._antiphon_net WHERE first = ?) ' +
  `SELECT total(CASE op WHEN ${OUTBOX_INSERT} THEN -(previous IS NOT ${OUTBOX_SUSPECT}) ` +
  `WHEN ${OUTBOX_DELETE} THEN 1 END), total(op = ${OUTBOX_SUSPECT}), ` +
  `total(op = ${OUTBOX_SUSPECT} AND seq < (SELECT max(seq) FROM m WHERE op = ${OUTBOX_INSERT})) FROM m`;

const IS_JOINED = `f.total <= ${TOTAL_JOINED} AND f.total > ${TOTAL_JOINED_MOVED}`;
const IS_COUNT = (total: string): string => `${total} >= 0 AND ${total} < ${TOTAL_PAIR}`;
const FIRST_COUNT = `CASE WHEN ${IS_COUNT('f.total')} THEN f.total
  WHEN ${IS_JOINED} THEN (${TOTAL_JOINED} - f.total) / ${TOTAL_PAIR} END`;
const COUNT_BEHIND = `${TOTAL_MOVED} - 1 - l.total`;
/** Within what the other stands for, it ends where that does. */
const LAST_COUNT = `CASE WHEN ${IS_COUNT('l.total')} THEN l.total
  WHEN ${IS_COUNT(COUNT_BEHIND)} THEN ${COUNT_BEHIND}
  WHEN l.total = ${TOTAL_WITHIN} AND ${IS_JOINED} THEN (${TOTAL_JOINED} - f.total) % ${TOTAL_PAIR} END`;

/**
 * The counts of the rows `f` and `l` as one number under `base`; where one is not known,
 * `otherwise`.
 */
function pairOf(base: number, otherwise: string): string {
  return `ifnull(${base} - (${FIRST_COUNT}) * ${TOTAL_PAIR} - (${LAST_COUNT}), ${otherwise})`;
}

const IS_MOVED = `total = ${TOTAL_MOVED} OR (total <= ${TOTAL_JOINED_MOVED} AND total > ${TOTAL_WITHIN})`;

/** Of the last row of several, for the first one, which stays. */
const TAKE_TIME =
  `UPDATE _antiphon_outbox SET (at, total) = (SELECT l.at, ${pairOf(TOTAL_JOINED_MOVED, String(TOTAL_MOVED))} ` +
  'FROM _antiphon_outbox AS l, _antiphon_outbox AS f WHERE l.seq = ? AND f.seq = _antiphon_outbox.seq) WHERE seq = ?';

/**
 * For the first row that stays: where the first one begins, and, if it is the last one, where that
 * ends.
 */
const TAKE_COUNTS =
  `UPDATE _antiphon_outbox SET total = iif(${IS_MOVED}, ${TOTAL_MOVED}, (SELECT ${pairOf(TOTAL_JOINED, 'NULL')} ` +
  'FROM _antiphon_outbox AS f, _antiphon_outbox AS l WHERE f.seq = ?1 AND l.seq = ?2)) WHERE seq = ?3';

function keyImage(column: number, alias: string): string {
  return `CASE ${alias}.op WHEN ${OUTBOX_INSERT} THEN ${alias}.n${column} ELSE ${alias}.o${column} END`;
}

/**
 * Captured rows of keys that were captured more than once, or that REPLACE may have deleted;
 * `unasked`: also of rows that are not so now.
 */
function membersSql(table: TrackedTable, unasked: boolean): string {
  const keys = table.key.map((part) => collated(table, keyImage(part.column, 'x'), part)).join(', ');
  const over = `OVER (PARTITION BY ${keys})`;
  const captured =
    `SELECT x.seq AS seq, min(x.seq) ${over} AS first, max(x.seq) ${over} AS last, x.op AS op, ` +
    `count(*) ${over} AS size, max(x.op = ${OUTBOX_SUSPECT}) ${over} AS suspected ` +
    `FROM _antiphon_outbox AS x WHERE x.t = ${table.id} AND x.seq > ? AND x.op < ${FIRST_CLAIM}`;
  const insert =
    'INSERT INTO temp._antiphon_net (seq, first, last, op, size) SELECT m.seq, m.first, m.last, m.op, m.size';
  const several = 'm.size > 1 OR m.suspected = 1';
  if (!unasked) return `${insert} FROM (${captured}) AS m WHERE ${several}`;
  const joined = `(${captured}) AS m JOIN _antiphon_outbox AS x ON x.seq = m.seq`;
  return `${insert} FROM ${joined} WHERE ${several} OR ${staleSql(table)}`;
}

/** Whether the row is not what was captured of it last. */
function staleSql(table: TrackedTable): string {
  const here = (condition: string): string =>
    `EXISTS (SELECT 1 FROM ${quoteName(table.name)} AS r WHERE ${sameKeySql(table, 'r', 'x')}${condition})`;
  const same = table.columns.flatMap((_, column) => {
    const name = `r.${columnName(table, column)}`;
    return [`${name} IS x.n${column} COLLATE BINARY`, `typeof(${name}) = typeof(x.n${column})`];
  });
  return `CASE x.op WHEN ${OUTBOX_DELETE} THEN ${here('')} ELSE NOT ${here(` AND ${balanced(same, 'AND')}`)} END`;
}

function sameKeySql(table: TrackedTable, row: string, captured: string): string {
  return table.key
    .map(
      (part) =>
        `${row}.${columnName(table, part.column)} = ${collated(table, keyImage(part.column, captured), part)}`,
    )
    .join(' AND ');
}

function presentSql(table: TrackedTable): string {
  const same = sameKeySql(table, 'r', 'x');
  return `SELECT 1 FROM _antiphon_outbox AS x JOIN ${quoteName(table.name)} AS r ON ${same} WHERE x.seq = ?`;
}

/** An old image that is no other change's new one. */
function initialSql(table: TrackedTable): string {
  const terms = table.columns.map(
    (_, column) =>
      `y.n${column} IS x.o${column} COLLATE BINARY AND typeof(y.n${column}) = typeof(x.o${column})`,
  );
  const same = balanced(terms, 'AND');
  return (
    `SELECT min(x.seq) FROM _antiphon_outbox AS x JOIN temp._antiphon_net AS m ON m.seq = x.seq ` +
    `WHERE m.first = ? AND x.op <> ${OUTBOX_INSERT} AND NOT EXISTS (` +
    `SELECT 1 FROM temp._antiphon_net AS k JOIN _antiphon_outbox AS y ON y.seq = k.seq ` +
    `WHERE k.first = ? AND y.op IN (${OUTBOX_INSERT}, ${OUTBOX_UPDATE}) AND ${same})`
  );
}

function images(table: TrackedTable, image: 'n' | 'o', alias?: string): string {
  const prefix = alias === undefined ? '' : `${alias}.`;
  return table.columns.map((_, column) => `${prefix}${image}${column}`).join(', ');
}

/** Gives a captured row the new image that the row has now. */
function takeRowSql(table: TrackedTable): string {
  const row = table.columns.map((_, column) => `r.${columnName(table, column)}`).join(', ');
  return (
    `UPDATE _antiphon_outbox AS x SET (${images(table, 'n')}) = (SELECT ${row} FROM ${quoteName(table.name)} AS r ` +
    `WHERE ${sameKeySql(table, 'r', 'x')}) WHERE x.seq = ?`
  );
}

/**
 * Of a row that is only known as it was written: it may have been there before, and have been
 * written over by REPLACE.
 */
function takeNewAsOldSql(table: TrackedTable): string {
  return `UPDATE _antiphon_outbox SET (${images(table, 'o')}) = (${images(table, 'n')}) WHERE seq = ?`;
}

/** Gives a captured row the new image of another as its old one. */
function takeNewOfSql(table: TrackedTable): string {
  return (
    `UPDATE _antiphon_outbox SET (${images(table, 'o')}) = ` +
    `(SELECT ${images(table, 'n', 'y')} FROM _antiphon_outbox AS y WHERE y.seq = ?) WHERE seq = ?`
  );
}

/** Gives a captured row the old image of another. */
function takeOldSql(table: TrackedTable): string {
  return (
    `UPDATE _antiphon_outbox SET (${images(table, 'o')}) = ` +
    `(SELECT ${images(table, 'o', 'y')} FROM _antiphon_outbox AS y WHERE y.seq = ?) WHERE seq = ?`
  );
}
