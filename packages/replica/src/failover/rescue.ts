import { type ActorRef, remoteRef } from '@antiphon/actor';
import {
  AntiphonError,
  checkOptions,
  formatTransactionId,
  mailboxPrefix,
  NOBODY,
  type OptionNames,
  type Rescue,
  type RescueChange,
  type RescueState,
} from '@antiphon/core';
import { notWritable } from '../config/not-writable.js';
import { answerBytes, bytesOfRow, cutToFit, fitting, revived } from '../repair/shown-row.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import type { Writer } from '../write/writer.js';
import { alarmRescued, endSuspicion } from './rescue-alarm.js';
import type { ShownRescueChange, ShownRescueConflict } from './rescue-values.js';
import {
  assertFits,
  encodeRescued,
  type RescuedWrite,
  type RescuedWritten,
  writeRescued,
} from './write-rescued.js';

/** So many transactions are listed at once; ask again with `afterId` for the rest. */
export const MAX_RESCUE_PAGE = 200;
/** So many changes are read at once, and of so many bytes. */
const CHANGES_PAGE = 500;
const PAGE_BYTES = 1024 * 1024;
/** What is told of a transaction beside the names of its tables. */
const ABOUT_BYTES = 300;
/** Looking for earlier transactions with the same rows ends after so many changes. */
const MAX_COMPARED_CHANGES = 10_000;
/** How long the primary may take. */
const WRITE_MS = 30_000;

/** Which transactions of a rescue ledger. */
export interface RescueQuery {
  /** Only transactions after the one with this `id`: the next page. */
  readonly afterId?: number;
  /** Only those of which this was decided. */
  readonly state?: RescueState;
}

/** Which changes of a rescued transaction. */
export interface RescuePage {
  /**
   * After so many changes: the next page.
   * @defaultValue 0
   */
  readonly after?: number;
}

/** How to write a rescued transaction again. */
export interface ReapplyOptions {
  /**
   * Also where rows are now neither as before it nor as after it: they become what it made of them.
   * @defaultValue false
   */
  readonly force?: boolean;
}

const QUERY: OptionNames<RescueQuery> = { afterId: true, state: true };
const PAGE: OptionNames<RescuePage> = { after: true };
const REAPPLY: OptionNames<ReapplyOptions> = { force: true };

/** A transaction that was taken out of this database before the log had it. */
export interface RescuedTransaction extends Rescue {
  /** The id that it had, as text: `eu-1:42`. No other transaction has it. */
  readonly transaction: string;
  /** So many more tables, whose names did not fit into an answer. */
  readonly moreTables?: number;
}

/** What the rescue ledger of a replica has. */
export interface RescueList {
  /** At most 200, the oldest first. */
  readonly transactions: readonly RescuedTransaction[];
  /** There are more: ask with the last one's `id` as `afterId`. */
  readonly more: boolean;
  /** How many are kept, and wait for a decision. */
  readonly kept: number;
}

/** One transaction of the ledger, and a page of its changes. */
export interface RescueDetail extends RescuedTransaction {
  readonly shown: readonly ShownRescueChange[];
  /** There are more changes: ask with `after` higher by the number of those shown. */
  readonly more: boolean;
}

/** With rows that fit into a message; its changes are those after the first `after`. */
export function cutDetail(scope: Scope, detail: RescueDetail, after: number): RescueDetail {
  const bytes = answerBytes(scope);
  const cut = detail.shown.map((change) => cutToFit(change, bytes));
  const shown = fitting(cut, bytes);
  return { ...detail, shown, more: after + shown.length < detail.changes };
}

/** What came of writing a rescued transaction again. */
export interface ReapplyAnswer {
  /** Its number in the ledger. */
  readonly id: number;
  /**
   * `present`: its rows were already what it had made of them, and nothing was written. `done`: it
   * had been written again before, and nothing was now. `conflicts`: some rows are neither as
   * before nor as after it, and nothing was written.
   */
  readonly outcome: 'reapplied' | 'present' | 'done' | 'conflicts';
  /** The primary that it was written on. */
  readonly primary: string;
  /** The transaction that it is now, as text; absent when nothing was ever written. */
  readonly transaction?: string;
  /** Rows that were written. */
  readonly written: number;
  /** Rows that were already what it had made of them. */
  readonly present: number;
  /** How many rows are in the way. */
  readonly conflicting: number;
  /** The first of them. */
  readonly conflicts: readonly ShownRescueConflict[];
  /** Numbers of earlier transactions that are kept and changed some of the same rows. */
  readonly earlier: readonly number[];
}

/** What this replica had committed and the log had not when another one became the primary. */
export interface RescueAccess {
  /**
   * Lists transactions, a page at a time.
   *
   * @throws AntiphonError BAD_OPTION, CLOSED
   */
  list(query?: RescueQuery): Promise<RescueList>;
  /**
   * Shows one transaction, and a page of its changes with the rows as they are now.
   *
   * @throws AntiphonError BAD_OPTION when it is not there, CLOSED
   */
  show(id: number, page?: RescuePage): Promise<RescueDetail>;
  /**
   * Writes the changes of one transaction again, on the primary, as one ordinary transaction,
   * unless rows are now neither as before it nor as after it. Calling it again does no harm: what
   * is there already stays as it is.
   *
   * @throws AntiphonError BAD_OPTION when it was dismissed or is not there, MESSAGE_TOO_LARGE when
   *   it is too large for that, UNKNOWN_TABLE, NO_ACTOR when the primary does not answer, TIMEOUT,
   *   and what `transaction` throws
   */
  reapply(id: number, options?: ReapplyOptions): Promise<ReapplyAnswer>;
  /**
   * Notes that nobody needs a transaction. Its changes stay readable. One that is not kept any more
   * is given back as it is.
   *
   * @throws AntiphonError BAD_OPTION when it is not there, STORE_BUSY, STORE_FULL, CLOSED
   */
  dismiss(id: number): Promise<RescuedTransaction>;
}

export class RescueLedgerAccess implements RescueAccess {
  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly writer: Writer<unknown>,
  ) {}

  async list(query: RescueQuery = {}): Promise<RescueList> {
    checkOptions(query, QUERY, 'rescue.list()');
    const { store } = this.scope;
    const { afterId = 0, state } = query;
    const found = await store.rescues({ afterId, limit: MAX_RESCUE_PAGE + 1, ...(state && { state }) });
    const named = found.slice(0, MAX_RESCUE_PAGE).map((one) => this.#named(one));
    let room = answerBytes(this.scope);
    const end = named.findIndex((one) => (room -= ABOUT_BYTES + bytesOfRow(one.tables)) < 0);
    const transactions = end > 0 ? named.slice(0, end) : named;
    return { transactions, more: found.length > transactions.length, kept: store.state().rescued };
  }

  async show(id: number, page: RescuePage = {}): Promise<RescueDetail> {
    checkOptions(page, PAGE, 'rescue.show()');
    const { after = 0 } = page;
    const transaction = await this.#find(id);
    const maxBytes = answerBytes(this.scope);
    const changes = await this.scope.store.rescueChanges(id, { after, limit: CHANGES_PAGE, maxBytes });
    const shown = fitting(changes, maxBytes);
    return { ...transaction, shown, more: after + shown.length < transaction.changes };
  }

  async reapply(id: number, options: ReapplyOptions = {}): Promise<ReapplyAnswer> {
    checkOptions(options, REAPPLY, 'rescue.reapply()');
    const { force = false } = options;
    const found = await this.#find(id);
    if (found.state === 'reapplied') return this.#done(found);
    this.#assertKept(found);
    const { time } = found;
    const changes = await this.#changesOf(found);
    const earlier = await this.#earlier(id, changes);
    const data = encodeRescued(changes, this.scope, time);
    const { conflicts, ...written } = await this.#write({ data, force });
    const answer = { id, ...written, conflicts: conflicts.map(revived), earlier };
    if (written.conflicting > 0) return { ...answer, outcome: 'conflicts' };
    // A crash before this: the next time, everything is there already.
    await this.#resolve(id, 'reapplied', written.transaction);
    return { ...answer, outcome: written.written > 0 ? 'reapplied' : 'present' };
  }

  async dismiss(id: number): Promise<RescuedTransaction> {
    const found = await this.#find(id);
    if (found.state !== 'kept') return found;
    this.#assertKept(found);
    await this.#resolve(id, 'dismissed');
    return this.#find(id);
  }

  async #resolve(id: number, state: Exclude<RescueState, 'kept'>, by?: string): Promise<void> {
    const resolution = { id, state, ...(by !== undefined && { by }) };
    await this.replica.ask('resolveRescue', resolution, { timeoutMs: Infinity });
    alarmRescued(this.scope);
    endSuspicion(this.scope);
  }

  /** Where writes are accepted: here, or in the process of the primary. */
  #write(request: RescuedWrite): Promise<RescuedWritten> {
    const { authority, id, cluster, bus } = this.scope;
    const { primary = id, mayWrite } = authority.current();
    if (mayWrite) return writeRescued(this.scope, this.writer, request);
    if (primary === NOBODY || primary === id) throw notWritable({ cluster, id, primary });
    const there = remoteRef<RescueProtocol>(bus, mailboxPrefix(cluster, primary), { timeoutMs: WRITE_MS });
    return there.ask('writeRescued', request);
  }

  /** Page by page. */
  async *#pagesOf({ id, changes }: Rescue): AsyncGenerator<readonly RescueChange[], void, undefined> {
    for (let after = 0; after < changes;) {
      const query = { after, limit: CHANGES_PAGE, maxBytes: PAGE_BYTES };
      const page = await this.scope.store.rescueChanges(id, query);
      if (page.length === 0) return;
      after += page.length;
      yield page;
    }
  }

  async #changesOf(rescue: Rescue): Promise<readonly RescueChange[]> {
    const changes: RescueChange[] = [];
    let bytes = 0;
    for await (const page of this.#pagesOf(rescue)) {
      for (const { before = [], after = [] } of page) bytes += bytesOfRow(before) + bytesOfRow(after);
      changes.push(...page);
      assertFits(bytes / 2, this.scope);
    }
    return changes;
  }

  /** Kept ones that should be written again before this one. */
  async #earlier(id: number, changes: readonly RescueChange[]): Promise<readonly number[]> {
    const { store } = this.scope;
    const rows = new Set(changes.map(rowName));
    const tables = new Set(changes.map(({ table }) => table));
    const earlier: number[] = [];
    let compared = 0;
    for (let afterId = 0; ;) {
      const page = await store.rescues({ afterId, limit: MAX_RESCUE_PAGE, state: 'kept' });
      for (const one of page) {
        if (one.id >= id || compared > MAX_COMPARED_CHANGES) return earlier;
        if (!one.tables.some((table) => tables.has(table))) continue;
        for await (const theirs of this.#pagesOf(one)) {
          compared += theirs.length;
          const isSame = theirs.some((change) => rows.has(rowName(change)));
          if (isSame) earlier.push(one.id);
          if (isSame || compared > MAX_COMPARED_CHANGES) break;
        }
      }
      const last = page.at(-1);
      if (last === undefined || page.length < MAX_RESCUE_PAGE) return earlier;
      afterId = last.id;
    }
  }

  /** Twice is like once. */
  #done({ id, reappliedAs }: RescuedTransaction): ReapplyAnswer {
    const { authority, id: self } = this.scope;
    const primary = reappliedAs?.split(':')[0] ?? authority.current().primary ?? self;
    return {
      ...{ id, outcome: 'done', primary, ...(reappliedAs !== undefined && { transaction: reappliedAs }) },
      ...{ written: 0, present: 0, conflicting: 0, conflicts: [], earlier: [] },
    };
  }

  #assertKept({ id, state, reason, transaction }: RescuedTransaction): void {
    if (state === 'kept' && reason === 'rescued') return;
    const why =
      state === 'kept'
        ? `${transaction} is written again by itself when ${this.scope.id} is the primary. Nothing is to be done about it.`
        : `${transaction} was dismissed. If it is needed after all, \`antiphon rescue export ${id} --sql\` has its changes.`;
    throw badId(this.scope, id, why);
  }

  async #find(id: number): Promise<RescuedTransaction> {
    const isId = Number.isSafeInteger(id) && id > 0;
    const [found] = isId ? await this.scope.store.rescues({ afterId: id - 1, limit: 1 }) : [];
    if (found?.id === id) return this.#named(found);
    throw badId(
      this.scope,
      id,
      `The rescue ledger of ${this.scope.id} has no transaction with the number ${String(id)}. ` +
        '`antiphon rescue list` shows what it has.',
    );
  }

  #named(rescue: Rescue): RescuedTransaction {
    const transaction = formatTransactionId({ origin: this.scope.id, counter: rescue.counter });
    let room = answerBytes(this.scope) / 2;
    const { tables } = rescue;
    const end = tables.findIndex((name) => (room -= bytesOfRow([name])) < 0);
    if (end < 0) return { ...rescue, transaction };
    return { ...rescue, transaction, tables: tables.slice(0, end), moreTables: tables.length - end };
  }
}

/** What the mailbox of a primary does for the ledgers of others. */
interface RescueProtocol {
  writeRescued(request: RescuedWrite): RescuedWritten;
}

function badId({ id: replica }: Scope, id: number, message: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', message, { context: { replica, id } });
}

/** By the bytes of its key, and not as the collation of its table compares it. */
function rowName({ table, key }: RescueChange): string {
  const values = key.map((value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value),
  );
  return JSON.stringify([table, ...values.map((value, index) => [typeof key[index], value])]);
}
