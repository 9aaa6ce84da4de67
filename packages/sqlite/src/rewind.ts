import {
  AntiphonError,
  type Batch,
  type Change,
  decodeBatches,
  decodeChanges,
  encodeBatch,
  type KeptParts,
  MAX_SUSPICIOUS,
  REQUESTS_TABLE,
  type RewindOptions,
  type RewindReport,
  type SealedTransaction,
  type TransactionBatch,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import { captureNothing, PARTS_PER_COUNTER } from './metadata.js';
import { Pace } from './pace.js';
import { RescueLedger } from './rescue-ledger.js';
import { aheadMs } from './resume.js';
import { ImagesOfTables } from './row-images.js';
import { countSealed } from './sealed-messages.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';
import { mappingAt, mappingsOf } from './table-mapping.js';

/** Between two looks at the clock. */
const CHANGES_BETWEEN_LOOKS = 256;
/** Messages of the tail are looked for so many at a time. */
const PAGE_MESSAGES = 256;

/**
 * Undoes the tail: own transactions that the log does not have. In the transaction that is open on
 * the applying connection, where foreign keys rest. Each row that the tail touched becomes what it
 * was before the first change of it, which the message of that change tells.
 */
export async function rewind(
  session: Session,
  draft: ReplicaState,
  options: RewindOptions,
): Promise<RewindReport> {
  const { applier } = session;
  if (draft.rowVersions)
    throw new AntiphonError('INTERNAL', 'With several primaries nothing is rewound. Please report it.');
  session.verifySchema(applier, draft);
  const pace = Pace.ordinary(applier.surroundings);
  draft.lastCounter = Math.max(draft.lastCounter, options.spent);
  // What is undone is not sent with the time that it gets here: it need not wait for a right one.
  await session.sealPending(applier, draft, pace, { undated: aheadMs(session) === undefined });
  session.sealing(applier).sealer.finish();
  captureNothing(applier);
  if (options.passed !== undefined) keepPassed(applier, draft, options.passed);
  const tail = new Tail(session, draft, options, pace);
  const report = await tail.undo();
  draft.ownCounter = Math.min(draft.ownCounter, draft.publishedCounter);
  draft.recoveryCounter = 0;
  new RescueLedger(applier).noteRewind(draft, draft.lastCounter, draft.epoch.number);
  draft.policy = { ...draft.policy, writes: 'refuse' };
  if (session.policy.writes !== 'refuse') session.takeRole(applier, draft);
  return report;
}

/** Own messages are not kept as parts when they are read, as long as the database has the whole. */
function keepPassed(connection: Connection, draft: ReplicaState, passed: KeptParts): void {
  const { counter, time, bytes } = passed;
  const { replica } = draft.identity;
  if (counter <= draft.publishedCounter || Object.hasOwn(draft.partial, replica)) return;
  const insert = connection.statement('INSERT INTO _antiphon_parts VALUES (?, ?, ?, ?, ?)');
  let kept = 0;
  for (let id = BigInt(counter) * PARTS_PER_COUNTER; kept < bytes; id++) {
    const data = dataOf(connection, id);
    if (data === undefined) break;
    for (const batch of decodeBatches(data)) {
      if (batch.kind !== 'part' || batch.firstCounter !== counter || batch.time !== time) return;
      if (batch.offset >= bytes) break;
      insert.run(replica, counter, time, batch.offset, batch.body);
      kept = batch.offset + batch.body.length;
    }
  }
  if (kept > 0) draft.partial[replica] = { counter, time, bytes: kept };
}

function dataOf(connection: Connection, id: bigint): Uint8Array | undefined {
  return connection.statement('SELECT data FROM _antiphon_sealed WHERE id = ?', 'value').get(id) as
    Uint8Array | undefined;
}

/** In the transaction that is open on the writing connection. */
export async function handOver(session: Session, draft: ReplicaState): Promise<void> {
  const { writer } = session;
  session.verifySchema(writer, draft);
  await session.sealPending(writer, draft, Pace.ordinary(writer.surroundings));
  session.sealing(writer).sealer.finish();
  new RescueLedger(writer).noteRewind(draft, draft.spentCounter, draft.epoch.number);
  draft.policy = { ...draft.policy, writes: 'refuse' };
  if (session.policy.writes !== 'refuse') session.takeRole(writer, draft);
}

/** Notes that a request was asked for again, or forgets old ones: nobody needs it back. */
function isHousekeeping({ tables }: TransactionBatch, { changes }: SealedTransaction): boolean {
  return changes.every(({ op, table }) => op !== 'insert' && tables[table]?.name === REQUESTS_TABLE);
}

class Tail {
  readonly #connection: Connection;
  readonly #ledger: RescueLedger;
  readonly #images: ImagesOfTables;
  readonly #tables: ReadonlyMap<string, Session['tables'][number]>;
  readonly #from: number;
  readonly #notedAtMs: number;
  #transactions = 0;
  #untilLook = CHANGES_BETWEEN_LOOKS;

  constructor(
    { applier, tables, clock }: Session,
    private readonly draft: ReplicaState,
    private readonly options: RewindOptions,
    private readonly pace: Pace,
  ) {
    this.#connection = applier;
    this.#ledger = new RescueLedger(applier);
    this.#images = new ImagesOfTables(applier);
    this.#tables = new Map(tables.map((table) => [table.name, table]));
    this.#from = draft.publishedCounter;
    this.#notedAtMs = Math.round(clock.wallMs);
  }

  async undo(): Promise<RewindReport> {
    await this.#walk();
    const suspicious: RewindReport['suspicious'][number][] = [];
    let rows = 0;
    for (const images of this.#images) {
      rows += images.count;
      const table = images.table.name;
      const keys = images.notAsLast(MAX_SUSPICIOUS - suspicious.length);
      suspicious.push(...keys.map((key) => ({ table, key })));
      images.restore('f');
      if (this.pace.due()) await this.pace.rest();
    }
    this.#images.drop();
    if (this.#transactions > 0) this.#forgetSealed();
    return { transactions: this.#transactions, rows, suspicious };
  }

  async #walk(): Promise<void> {
    // The first one may have begun before the tail.
    const page = `SELECT id FROM _antiphon_sealed
      WHERE id >= coalesce((SELECT max(id) FROM _antiphon_sealed WHERE id <= ?), 0) AND id > ?
        AND last_counter > ? AND part = 0 ORDER BY id LIMIT ${PAGE_MESSAGES}`;
    const begin = BigInt(this.#from) * PARTS_PER_COUNTER + (PARTS_PER_COUNTER - 1n);
    for (let after = -1n; ;) {
      const ids = this.#connection.statement(page, 'exact value').all(begin, after, this.#from) as bigint[];
      for (const id of ids) await this.#take(id);
      const last = ids.at(-1);
      if (last === undefined) return;
      after = last;
    }
  }

  async #take(id: bigint): Promise<void> {
    const data = dataOf(this.#connection, id);
    if (data === undefined) return;
    for (const batch of decodeBatches(data)) {
      if (batch.kind === 'part') {
        await this.#takeParts(id, batch);
        continue;
      }
      const tail = batch.transactions.filter(({ counter }) => counter > this.#from);
      for (const transaction of tail) await this.#takeWhole(batch, transaction, data);
      if (tail.length < batch.transactions.length) this.#cut(id, batch);
    }
  }

  /** Of others in its message it is cut out. */
  async #takeWhole(
    batch: TransactionBatch,
    transaction: SealedTransaction,
    message: Uint8Array,
  ): Promise<void> {
    await this.#note(batch, transaction.changes);
    if (isHousekeeping(batch, transaction)) return;
    const isAlone = batch.transactions.length === 1 && batch.sync === undefined;
    const noted = { reason: this.options.reason, notedAtMs: this.#notedAtMs };
    this.#ledger.addWhole(this.draft, batch, transaction, {
      ...noted,
      message: isAlone ? message : undefined,
    });
    this.#transactions++;
  }

  async #takeParts(first: bigint, batch: Extract<Batch, { kind: 'part' }>): Promise<void> {
    const changes = await this.#note(batch, decodeChanges(this.#bodies(first), batch.tables));
    const tables = batch.tables.map(({ name }) => name);
    const id = this.#add({ counter: batch.firstCounter, header: batch, changes, tables });
    this.#connection
      .statement(
        `INSERT INTO _antiphon_rescue_data SELECT ?, part, data FROM _antiphon_sealed
         WHERE id >= ? AND first_counter = ? ORDER BY id`,
      )
      .run(id, first, batch.firstCounter);
  }

  /** One part in memory at a time. */
  *#bodies(first: bigint): Generator<Uint8Array> {
    for (let id = first; ; id++) {
      const data = dataOf(this.#connection, id);
      if (data === undefined) return;
      for (const batch of decodeBatches(data)) if (batch.kind === 'part') yield batch.body;
    }
  }

  #add(kept: {
    readonly counter: number;
    readonly header: { readonly time: number; readonly epoch: number };
    readonly changes: number;
    readonly tables: Iterable<string>;
  }): number {
    this.#transactions++;
    const { reason } = this.options;
    return this.#ledger.add(this.draft, kept, { ...kept, reason, notedAtMs: this.#notedAtMs });
  }

  /** Returns how many there were. */
  async #note({ tables }: Batch, changes: Iterable<Change>): Promise<number> {
    const mappings = mappingsOf(tables, this.#tables);
    let count = 0;
    for (const change of changes) {
      this.#images.note(change, mappingAt(mappings, change.table));
      count++;
      if (--this.#untilLook > 0) continue;
      this.#untilLook = CHANGES_BETWEEN_LOOKS;
      if (this.pace.due()) await this.pace.rest();
    }
    return count;
  }

  /** What is published stays readable, without the rest of its message. */
  #cut(id: bigint, batch: TransactionBatch): void {
    const transactions = batch.transactions.filter(({ counter }) => counter <= this.#from);
    const data = encodeBatch({ ...batch, transactions });
    const changes = transactions.reduce((sum, transaction) => sum + transaction.changes.length, 0);
    this.#connection
      .statement(
        'UPDATE _antiphon_sealed SET last_counter = ?, changes = ?, bytes = ?, data = ? WHERE id = ?',
      )
      .run(this.#from, changes, data.length, data, id);
  }

  #forgetSealed(): void {
    this.#connection
      .statement('DELETE FROM _antiphon_sealed WHERE id > ?')
      .run(BigInt(this.#from) * PARTS_PER_COUNTER + (PARTS_PER_COUNTER - 1n));
    const { messages, bytes } = countSealed(this.#connection);
    this.draft.outboxMessages = messages;
    this.draft.outboxBytes = bytes;
    this.draft.newlySealed.clear();
  }
}
