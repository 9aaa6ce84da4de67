import { AntiphonError, TaggedValue, type Row, type Value } from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { ADMITTING_SEQ } from './capture-triggers.js';
import { mayLoseRowsUnseen, type TrackedTable } from './local-table.js';
import { NetEffect } from './net-effect.js';
import { settlePlainSuspects } from './plain-suspects.js';
import type { Pace } from './pace.js';
import { FIRST_CLAIM, OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_SUSPECT, OUTBOX_UPDATE } from './outbox-kinds.js';

/** Rows read from the outbox at once: bounds memory, whatever the size of a transaction. */
export const CHUNK_ROWS = 1000;
/** Fewer rows than this are read with all columns: finding out what they are costs more. */
const MIN_UNIFORM_ROWS = 8;
const REPLACEMENT = '\ufffd';

/** Outbox rows of numbers in (from, to], in order. */
export interface OutboxChunk {
  readonly from: number;
  readonly to: number;
  /** Set when all rows are of one table and kind: `rows` are then just that image. */
  readonly uniform: { readonly table: TrackedTable; readonly op: number } | undefined;
  /** Else `[t, op, n0…, o0…]`, as wide as the widest table. */
  readonly rows: readonly Row[];
}

interface RangeSummary {
  readonly minT: bigint | null;
  readonly maxT: bigint | null;
  readonly minOp: bigint | null;
  readonly maxOp: bigint | null;
}

/** What triggers captured and nobody has sealed yet, as one connection sees it. */
export class Outbox {
  readonly width: number;
  readonly #tables: ReadonlyMap<number, TrackedTable>;
  readonly #mixed: string;
  readonly #bytes: string;
  readonly #hasSuspectTriggers: boolean;
  /** Numbers of tables whose rows may change inside of another change. */
  readonly #changedUnasked: ReadonlySet<number>;
  readonly #netEffect: NetEffect;
  /** Our own transaction has the row that admits writes. */
  #admitting = false;

  constructor(
    private readonly connection: Connection,
    tables: readonly TrackedTable[],
    private readonly undoable = false,
  ) {
    this.#tables = new Map(tables.map((table) => [table.id, table]));
    this.width = Math.max(1, ...tables.map(({ columns }) => columns.length));
    this.#hasSuspectTriggers = undoable || tables.some(mayLoseRowsUnseen);
    this.#changedUnasked = changedUnasked(tables);
    this.#netEffect = new NetEffect(connection, undoable);
    this.#mixed = `SELECT t, op, ${this.#images('n', this.width)}, ${this.#images('o', this.width)} FROM _antiphon_outbox WHERE seq > ? AND seq <= ? ORDER BY seq`;
    this.#bytes =
      `SELECT total(CASE op WHEN ${OUTBOX_INSERT} THEN ${this.#lengthOf('n')} WHEN ${OUTBOX_UPDATE} THEN ` +
      `${this.#lengthOf('n')} WHEN ${OUTBOX_DELETE} THEN ${this.#lengthOf('o')} ELSE 0 END) FROM _antiphon_outbox WHERE seq > ?`;
  }

  #lengthOf(image: 'n' | 'o'): string {
    const columns = Array.from({ length: this.width }, (_, index) => `${image}${index}`);
    return balanced(
      columns.map((column) => `ifnull(octet_length(${column}), 0)`),
      '+',
    );
  }

  #images(image: 'n' | 'o', width: number): string {
    return Array.from({ length: width }, (_, index) => `${image}${index}`).join(', ');
  }

  table(id: number): TrackedTable {
    const table = this.#tables.get(id);
    if (table === undefined)
      throw new AntiphonError(
        'STORE_FAILED',
        `The outbox holds changes of table number ${id}, which is not replicated.`,
      );
    return table;
  }

  isEmpty(): boolean {
    return this.connection.statement('SELECT EXISTS (SELECT 1 FROM _antiphon_outbox)', 'value').get() === 0;
  }

  /** Number of the newest row, 0 when there is none. */
  lastSeq(): number {
    return (
      (this.connection.statement('SELECT max(seq) FROM _antiphon_outbox', 'value').get() as number | null) ??
      0
    );
  }

  /** How many rows there are, but for gaps: counting them would read all of them. */
  length(): number {
    const first = `(SELECT min(seq) FROM _antiphon_outbox WHERE seq > ${ADMITTING_SEQ})`;
    const sql = `SELECT coalesce((SELECT max(seq) FROM _antiphon_outbox) - ${first} + 1, 0)`;
    return this.connection.statement(sql, 'value').get() as number;
  }

  clear(): void {
    this.connection.statement('DELETE FROM _antiphon_outbox').run();
    this.#admitting = false;
  }

  /**
   * Triggers refuse what is written while this row is not there (others for good under the policy
   * `library`, else for want of a lease), and only this transaction ever sees it. It lies where
   * captured rows go, whose page is written anyway: a table of its own would cost a page per
   * commit.
   */
  admitWrites(): void {
    this.connection.statement(`INSERT INTO _antiphon_outbox (seq) VALUES (${ADMITTING_SEQ})`).run();
    this.#admitting = true;
  }

  /** Before the commit, unless the outbox was cleared since. */
  refuseWrites(): void {
    if (!this.#admitting) return;
    this.connection.statement(`DELETE FROM _antiphon_outbox WHERE seq = ${ADMITTING_SEQ}`).run();
    this.#admitting = false;
  }

  /** What is sealed without certification claims nothing. */
  forgetClaims(): void {
    this.connection.statement(`DELETE FROM _antiphon_outbox WHERE op >= ${FIRST_CLAIM}`).run();
  }

  forget(upTo: number): void {
    this.connection.statement('DELETE FROM _antiphon_outbox WHERE seq <= ?').run(upTo);
  }

  /** Tables that rows in (from, to] belong to. */
  tablesOf(from: number, to: number): TrackedTable[] {
    if (this.#tables.size === 1 && to > from) return [...this.#tables.values()];
    const ids = this.connection
      .statement('SELECT DISTINCT t FROM _antiphon_outbox WHERE seq > ? AND seq <= ? ORDER BY t', 'value')
      .all(from, to) as number[];
    return ids.map((id) => this.table(id));
  }

  /** Rows in (from, to], which must not span more than CHUNK_ROWS numbers. */
  read(from: number, to: number): OutboxChunk {
    const uniform = to - from < MIN_UNIFORM_ROWS ? undefined : this.#uniform(from, to);
    let sql = this.#mixed;
    if (uniform !== undefined) {
      const image = this.#images(uniform.op === OUTBOX_DELETE ? 'o' : 'n', uniform.table.columns.length);
      sql = `SELECT ${image} FROM _antiphon_outbox WHERE seq > ? AND seq <= ? ORDER BY seq`;
    }
    const rows = this.connection.statement(sql, 'exact array').all(from, to) as Value[][];
    return { from, to, uniform, rows };
  }

  /** The numbers of its rows, ascending. */
  numbersIn({ from, to }: OutboxChunk): readonly number[] {
    return this.connection
      .statement('SELECT seq FROM _antiphon_outbox WHERE seq > ? AND seq <= ? ORDER BY seq', 'value')
      .all(from, to) as number[];
  }

  /**
   * About how many bytes the changes after `from` need of a message: those of their values as
   * text, of which SQLite knows the length without reading them.
   */
  bytesAfter(from: number): number {
    return this.connection.statement(this.#bytes, 'value').get(from) as number;
  }

  #uniform(from: number, to: number): OutboxChunk['uniform'] {
    const summary = this.connection
      .statement(
        'SELECT min(t) AS minT, max(t) AS maxT, min(op) AS minOp, max(op) AS maxOp FROM _antiphon_outbox WHERE seq > ? AND seq <= ?',
        'exact object',
      )
      .get(from, to) as RangeSummary;
    const op = Number(summary.minOp);
    if (summary.minT === null || summary.minT !== summary.maxT || summary.minOp !== summary.maxOp)
      return undefined;
    return op === OUTBOX_INSERT || op === OUTBOX_DELETE
      ? { table: this.table(Number(summary.minT)), op }
      : undefined;
  }

  /**
   * The value as it really is. The driver shows bytes that are not UTF-8 as U+FFFD, so text that
   * holds one is read again. `index` counts rows of the chunk.
   */
  exactText(chunk: OutboxChunk, index: number, image: 'n' | 'o', column: number, text: string): Value {
    if (!text.includes(REPLACEMENT)) return text;
    const bytes = this.connection
      .statement(
        `SELECT CAST(${image}${column} AS BLOB) FROM _antiphon_outbox WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?`,
        'value',
      )
      .get(chunk.from, index) as Uint8Array;
    return Buffer.from(text, 'utf8').equals(bytes) ? text : new TaggedValue('raw-text', bytes);
  }

  /**
   * Makes what was captured after `from` true, in the transaction that changed it last: decides
   * about suspects, and gives rows that foreign-key actions or triggers changed unasked their net
   * effect. `apart`: these may be several transactions.
   */
  settle(from: number, apart = false): void {
    for (const _ of this.#settling(from, apart));
  }

  /** The same in slices. */
  async settlePaced(from: number, apart: boolean, pace: Pace): Promise<void> {
    for (const _ of this.#settling(from, apart)) if (pace.due()) await pace.rest();
  }

  *#settling(from: number, apart: boolean): Generator<void> {
    if (this.undoable)
      for (const table of this.#suspected(from)) settlePlainSuspects(this.connection, table, from);
    for (const table of this.#unsettled(from)) {
      const unasked = this.#changedUnasked.has(table.id);
      yield* this.#netEffect.steps(table, from, { apart, unasked });
    }
  }

  /**
   * The same for every table: what was captured under another schema may have come in any order.
   */
  settleAll(): void {
    for (const table of this.tablesOf(0, this.lastSeq()))
      this.#netEffect.settle(table, 0, { apart: true, unasked: true });
  }

  #suspected(from: number): readonly TrackedTable[] {
    const ids = this.connection
      .statement(`SELECT DISTINCT t FROM _antiphon_outbox WHERE seq > ? AND op = ${OUTBOX_SUSPECT}`, 'value')
      .all(from) as number[];
    return ids.map((id) => this.table(id));
  }

  #unsettled(from: number): readonly TrackedTable[] {
    if (!this.#hasSuspectTriggers && this.#changedUnasked.size === 0) return [];
    const unasked =
      this.#changedUnasked.size === 0 ? '' : ` OR x.t IN (${[...this.#changedUnasked].join(', ')})`;
    const ids = this.connection
      .statement(
        `SELECT DISTINCT x.t FROM _antiphon_outbox AS x WHERE x.seq > ? AND (x.op = ${OUTBOX_SUSPECT}${unasked})`,
        'value',
      )
      .all(from) as number[];
    return ids.map((id) => this.table(id));
  }
}

/** True when a row holds text that may not be what it seems; see `exactText`. */
export function hasReplacementCharacter(row: Row): boolean {
  for (const value of row) if (typeof value === 'string' && value.includes(REPLACEMENT)) return true;
  return false;
}

/** A trigger may write to any table; a foreign-key action only to its own. */
function changedUnasked(tables: readonly TrackedTable[]): ReadonlySet<number> {
  const triggers = tables.some(({ hasTriggers }) => hasTriggers);
  return new Set(tables.filter(({ hasKeyActions }) => triggers || hasKeyActions).map(({ id }) => id));
}
