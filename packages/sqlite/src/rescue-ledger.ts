import {
  type BatchHeader,
  type Change,
  ChangeDecoder,
  decodeBatches,
  decodeChanges,
  type DictionaryTable,
  encodeBatch,
  type Rescue,
  type RescueChange,
  type RescueData,
  rescueChangeOf,
  type RescueReason,
  type RescueState,
  type SealedTransaction,
  type Store,
  type TransactionBatch,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import { Pace } from './pace.js';
import { bytesOf } from './read-work.js';
import type { RescuePlaces } from './rescue-places.js';

/** What of the store's state the ledger moves. */
interface LedgerState {
  rescued: number;
  spentCounter: number;
  rewoundEpoch: number;
}

type RescueQuery = Parameters<Store['rescues']>[0];

interface RescueRow extends Omit<Rescue, 'tables' | 'reappliedAs'> {
  readonly tables: string;
  readonly reappliedAs: string | null;
}

interface ChangesQuery {
  readonly after: number;
  readonly limit: number;
  readonly maxBytes?: number | undefined;
}

interface ReadChange {
  readonly change: Change;
  readonly index: number;
  readonly tables: readonly DictionaryTable[];
}

/** A transaction of the ledger, or of the tail that goes there. */
export interface KeptTransaction {
  readonly counter: number;
  /** Of the whole transaction. */
  readonly header: Pick<BatchHeader, 'time' | 'epoch'>;
  readonly tables: readonly DictionaryTable[];
  readonly changes: Iterable<Change>;
}

const SELECT =
  'SELECT id, counter, time, reason, state, sealed_epoch AS sealedEpoch, changes, tables, ' +
  'noted_at_ms AS notedAtMs, reapplied_as AS reappliedAs FROM _antiphon_rescue';

/**
 * Own transactions that were taken out of the database before the log had them. Reads and writes
 * within the caller's transaction.
 */
export class RescueLedger {
  constructor(private readonly connection: Connection) {}

  readInto(state: LedgerState): void {
    const { db } = this.connection;
    const count = `SELECT count(*) FROM _antiphon_rescue WHERE state = 'kept'`;
    state.rescued = db.prepare(count, 'value').get() as number;
    const rewound = db.prepare('SELECT spent, epoch FROM _antiphon_rewound').get() as
      { readonly spent: number; readonly epoch: number } | undefined;
    if (rewound === undefined) return;
    state.spentCounter = rewound.spent;
    state.rewoundEpoch = rewound.epoch;
  }

  noteRewind(state: LedgerState, spent: number, epoch: number): void {
    state.spentCounter = Math.max(state.spentCounter, spent);
    state.rewoundEpoch = epoch;
    this.connection
      .statement('INSERT OR REPLACE INTO _antiphon_rewound VALUES (1, ?, ?)')
      .run(state.spentCounter, epoch);
  }

  /** Returns its number, for its messages. */
  add(
    state: LedgerState,
    { counter, header }: Pick<KeptTransaction, 'counter' | 'header'>,
    content: {
      readonly reason: RescueReason;
      readonly changes: number;
      readonly tables: Iterable<string>;
      readonly notedAtMs: number;
    },
  ): number {
    state.rescued++;
    const { reason, changes, tables, notedAtMs } = content;
    return this.connection
      .statement(
        `INSERT INTO _antiphon_rescue (counter, time, reason, sealed_epoch, changes, tables, noted_at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id`,
        'value',
      )
      .get(
        ...[counter, header.time, reason, header.epoch],
        ...[changes, JSON.stringify([...tables]), notedAtMs],
      ) as number;
  }

  /** One transaction of a message, alone. `message`: it is the only one of it. */
  addWhole(
    state: LedgerState,
    batch: TransactionBatch,
    { counter, time, changes }: SealedTransaction,
    {
      message,
      ...noted
    }: {
      readonly reason: RescueReason;
      readonly notedAtMs: number;
      readonly message?: Uint8Array | undefined;
    },
  ): void {
    const { sync: _, ...header } = batch;
    const tables = new Set(changes.map(({ table }) => batch.tables[table]?.name ?? ''));
    const content = { ...noted, changes: changes.length, tables };
    const id = this.add(state, { counter, header: { ...header, time } }, content);
    const alone = { ...header, firstCounter: counter, time, transactions: [{ counter, time, changes }] };
    this.addData(id, 0, message ?? encodeBatch(alone));
  }

  /**
   * Whatever was decided about it. After a power loss one number may have been given twice, before
   * the log showed the first one: their times differ.
   */
  has({ counter, time }: Pick<SealedTransaction, 'counter' | 'time'>): boolean {
    const sql = 'SELECT EXISTS (SELECT 1 FROM _antiphon_rescue WHERE counter = ? AND time = ?)';
    return this.connection.statement(sql, 'value').get(counter, time) === 1;
  }

  addData(id: number, part: number, data: Uint8Array): void {
    this.connection.statement('INSERT INTO _antiphon_rescue_data VALUES (?, ?, ?)').run(id, part, data);
  }

  /** The log has brought it back. */
  arrived(state: LedgerState, { counter, time }: Pick<SealedTransaction, 'counter' | 'time'>): void {
    if (state.rescued === 0) return;
    const ids = this.connection
      .statement(`SELECT id FROM _antiphon_rescue WHERE counter = ? AND time = ? AND state = 'kept'`, 'value')
      .all(counter, time) as number[];
    for (const id of ids) this.remove(state, id);
  }

  remove(state: LedgerState, id: number): void {
    this.connection.statement('DELETE FROM _antiphon_rescue WHERE id = ?').run(id);
    this.connection.statement('DELETE FROM _antiphon_rescue_data WHERE rescue = ?').run(id);
    state.rescued--;
  }

  /** Nobody writes them again unasked any more. */
  keepPending(): void {
    this.#keep('TRUE', []);
  }

  keep(id: number): void {
    this.#keep('id = ?', [id]);
  }

  #keep(where: string, parameters: readonly number[]): void {
    this.connection
      .statement(`UPDATE _antiphon_rescue SET reason = 'rescued' WHERE reason = 'pending' AND ${where}`)
      .run(...parameters);
  }

  /** In the order in which they were committed. */
  *pending(): Generator<KeptTransaction & { readonly id: number }> {
    const next = `SELECT id, counter FROM _antiphon_rescue
      WHERE reason = 'pending' AND state = 'kept' AND counter > ? ORDER BY counter LIMIT 1`;
    for (let after = 0; ;) {
      const found = this.connection.statement(next).get(after) as
        { readonly id: number; readonly counter: number } | undefined;
      if (found === undefined) return;
      after = found.counter;
      const transaction = this.#read(found.id, found.counter);
      if (transaction !== undefined) yield { ...transaction, id: found.id };
    }
  }

  #read(id: number, counter: number): KeptTransaction | undefined {
    const first = this.#data(id, 0);
    const [batch] = first === undefined ? [] : decodeBatches(first);
    if (batch === undefined) return undefined;
    const { tables } = batch;
    if (batch.kind === 'part')
      return { counter, header: batch, tables, changes: decodeChanges(this.#bodies(id), tables) };
    return { counter, header: batch, tables, changes: batch.transactions.flatMap(({ changes }) => changes) };
  }

  #data(id: number, part: number): Uint8Array | undefined {
    return this.connection
      .statement('SELECT data FROM _antiphon_rescue_data WHERE rescue = ? AND part = ?', 'value')
      .get(id, part) as Uint8Array | undefined;
  }

  /** One part in memory at a time. */
  *#bodies(id: number): Generator<Uint8Array> {
    for (let part = 0; ; part++) {
      const data = this.#data(id, part);
      if (data === undefined) return;
      for (const batch of decodeBatches(data)) if (batch.kind === 'part') yield batch.body;
    }
  }

  list({ afterId, limit, ...only }: RescueQuery): readonly Rescue[] {
    const [state, counter] = [only.state ?? null, only.counter ?? null];
    const where = 'id > ? AND (? IS NULL OR state = ?) AND (? IS NULL OR counter = ?)';
    const rows = this.connection
      .statement(`${SELECT} WHERE ${where} ORDER BY id LIMIT ?`)
      .all(afterId, state, state, counter, counter, limit) as RescueRow[];
    return rows.map(({ tables, reappliedAs, ...rest }) => ({
      ...rest,
      tables: JSON.parse(tables) as string[],
      ...(reappliedAs !== null && { reappliedAs }),
    }));
  }

  /** `here` adds what a row is now. Nothing is looked at twice where the place is known. */
  async changes(
    id: number,
    { after, limit, maxBytes = Infinity }: ChangesQuery,
    places: RescuePlaces,
    here: (change: RescueChange) => RescueChange,
  ): Promise<readonly RescueChange[]> {
    const pace = Pace.ordinary(this.connection.surroundings);
    const page: RescueChange[] = [];
    let bytes = 0;
    for (const { change, index, tables } of this.#from(id, after, places)) {
      if (index >= after) {
        const shown = here(rescueChangeOf(change, tables));
        for (const row of [shown.before, shown.after, shown.here]) bytes += bytesOf(row ?? []);
        if (page.length > 0 && bytes > maxBytes) break;
        page.push(shown);
        if (page.length >= limit) break;
      }
      if (pace.due()) await pace.rest();
    }
    places.reached(id, after + page.length);
    return page;
  }

  /** From the last place before a change that is known. */
  *#from(id: number, after: number, places: RescuePlaces): Generator<ReadChange> {
    const first = this.#data(id, 0);
    const [head] = first === undefined ? [] : decodeBatches(first);
    if (head === undefined) return;
    const { tables } = head;
    if (head.kind !== 'part') {
      const changes = head.transactions.flatMap((transaction) => transaction.changes);
      for (const [index, change] of changes.entries()) yield { change, index, tables };
      return;
    }
    const place = places.before(id, after);
    const decoder = new ChangeDecoder(tables);
    let { index } = place;
    for (let part = place.part; ; part++) {
      const data = this.#data(id, part);
      if (data === undefined) return;
      for (const [batch, content] of decodeBatches(data).entries()) {
        const isAt = part === place.part && batch === place.batch;
        if (content.kind !== 'part' || (part === place.part && batch < place.batch)) continue;
        for (const change of decoder.changesIn(content.body.subarray(isAt ? place.offset : 0))) {
          const offset = decoder.offset + (isAt ? place.offset : 0);
          places.note(id, { index: index + 1, part, batch, offset });
          yield { change, index: index++, tables };
        }
      }
    }
  }

  piece(
    id: number,
    { part, offset, maxBytes }: { readonly part: number; readonly offset: number; readonly maxBytes: number },
  ): RescueData {
    const sql = `SELECT substr(data, ?, ?) AS data, length(data) AS bytes FROM _antiphon_rescue_data
      WHERE rescue = ? AND part = ?`;
    const found = this.connection.statement(sql).get(offset + 1, maxBytes, id, part);
    return (found as RescueData | undefined) ?? { data: new Uint8Array(0), bytes: 0 };
  }

  /** False when it is not kept any more. */
  resolve(state: LedgerState, id: number, to: RescueState, by: string | undefined): boolean {
    const { changes } = this.connection
      .statement(`UPDATE _antiphon_rescue SET state = ?, reapplied_as = ? WHERE id = ? AND state = 'kept'`)
      .run(to, by ?? null, id);
    if (changes !== 1) return false;
    state.rescued--;
    return true;
  }
}
