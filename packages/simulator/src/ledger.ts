import { decodeBatches, decodeChanges, type PartBatch, type SealedMessage } from '@antiphon/core';
import type { SimulatedDatabase } from './database.js';
import { named, type ModelTransaction } from './log-model.js';
import { quoted, type SimulatedTable } from './table.js';
import { tokensIn } from './tables.js';

interface Committed {
  readonly replica: string;
  readonly commit: number;
}

export interface SealedTransaction extends ModelTransaction, Committed {
  /** The database lost it again. A clock that was set back may give its time once more. */
  readonly lost?: true;
}

/** The one table that grows: its rows are never changed, so only new ones are looked at. */
const GROWING = 'events';

/** Tokens of a replica's own writes that are in its rows now. */
interface PresentTokens {
  readonly changing: ReadonlySet<string>;
  /** Not all, but those that may be new. */
  readonly growing: readonly string[];
}

/**
 * Looks on while databases commit: which writes they committed, and what is in the transactions
 * that they sealed. A power loss takes writes out again, since they may be gone for good.
 */
export class Ledger {
  /** Tokens of writes that a database holds and must not lose. */
  readonly tokens = new Map<string, Committed>();
  /**
   * Captured and not sealed any more after a power loss: sealed again, although the log may have
   * them already.
   */
  readonly repeatable = new Set<string>();
  readonly #transactions = new Map<string, SealedTransaction>();
  readonly #parts = new Map<string, Uint8Array[]>();
  readonly #seen = new Map<string, bigint>();
  /**
   * Captured and not sealed yet, by replica: what takes their place before that is sealed in their
   * stead.
   */
  readonly #pending = new Map<string, Set<string>>();

  constructor(private readonly tables: readonly SimulatedTable[]) {}

  watch(replica: string, database: SimulatedDatabase, onPruned: (counter: number) => void): void {
    database.onCommit(({ number, sealed, pruned }) => {
      this.#committed(replica, database, number);
      for (const message of sealed) this.#sealed(message, { replica, commit: number });
      for (const counter of pruned) onPruned(counter);
    });
  }

  lost(replica: string, database: SimulatedDatabase, commits: readonly number[]): void {
    this.#seen.delete(replica);
    this.#pending.delete(replica);
    for (const table of this.tables) {
      for (const row of database.captured(table.name))
        for (const token of tokensIn(row)) this.repeatable.add(token);
    }
    // Written again, sent, and lost: it waits once more, and the log has it under another number.
    for (const { reason, rows } of database.rescues())
      if (reason === 'pending') for (const token of rows.flatMap(tokensIn)) this.repeatable.add(token);
    const numbers = new Set(commits);
    for (const [token, committed] of this.tokens) {
      if (committed.replica === replica && numbers.has(committed.commit)) this.tokens.delete(token);
    }
    for (const [id, transaction] of this.#transactions)
      if (transaction.replica === replica && numbers.has(transaction.commit))
        this.#transactions.set(id, { ...transaction, lost: true });
  }

  /**
   * What a sealed transaction changed. Two of one id differ in time when a counter was used twice.
   */
  transaction(origin: string, counter: number, time: number): SealedTransaction | undefined {
    return this.#transactions.get(`${origin}:${counter}@${time}`);
  }

  get transactions(): Iterable<SealedTransaction> {
    return this.#transactions.values();
  }

  #committed(replica: string, database: SimulatedDatabase, commit: number): void {
    const { changing, growing } = this.#tokensOf(replica, database);
    // Before the database was a replica, nobody captured anything: the rows of then are sealed as
    // they were found.
    if (!database.isReplica) for (const token of [...changing, ...growing]) this.repeatable.add(token);
    const keep = (token: string): void => {
      if (!this.tokens.has(token)) this.tokens.set(token, { replica, commit });
    };
    if (database.isReplica) growing.forEach(keep);
    if (database.hasCaptured()) {
      const pending = [...changing].filter((token) => !this.tokens.has(token));
      return void this.#pending.set(replica, new Set(pending));
    }
    this.#pending.get(replica)?.forEach(keep);
    this.#pending.delete(replica);
    if (database.isReplica) changing.forEach(keep);
  }

  #tokensOf(replica: string, database: SimulatedDatabase): PresentTokens {
    const present = new Set(database.tableNames());
    const tables = this.tables.filter(({ name }) => present.has(name));
    if (tables.length === 0) return { changing: new Set(), growing: [] };
    const own = `${replica}#*`;
    const selects = tables
      .filter(({ name }) => name !== GROWING)
      .map(({ name }) => `SELECT token FROM ${quoted(name)} WHERE token GLOB ?1`);
    const changing = database.read(selects.join(' UNION ALL '), own).flatMap(tokensIn);
    const seen = this.#seen.get(replica) ?? 0n;
    const sql = `SELECT token, rowid FROM ${quoted(GROWING)} WHERE rowid > ? AND token GLOB ?`;
    const growing = database.read(sql, seen, own);
    const last = growing.at(-1)?.[1];
    if (typeof last === 'bigint') this.#seen.set(replica, last);
    return { changing: new Set(changing), growing: growing.flatMap(tokensIn) };
  }

  #sealed(message: SealedMessage, by: Committed): void {
    for (const batch of decodeBatches(message.data)) {
      if (batch.kind === 'part') {
        this.#sealedPart(batch, by);
        continue;
      }
      const { origin, tables, context } = batch;
      for (const { counter, time, changes } of batch.transactions) {
        const all = changes.map((change) => named(change, tables));
        this.#remember({ origin, counter, time, context, changes: all, ...by });
      }
    }
  }

  #sealedPart(batch: PartBatch, by: Committed): void {
    const { origin, firstCounter: counter, time, tables, context } = batch;
    const id = `${origin}:${counter}@${time}`;
    const bodies = [...(this.#parts.get(id) ?? []), batch.body];
    this.#parts.set(id, bodies);
    if (!batch.last) return;
    const changes = [...decodeChanges(bodies, tables)].map((change) => named(change, tables));
    this.#remember({ origin, counter, time, context, changes, ...by });
    this.#parts.delete(id);
  }

  #remember(transaction: SealedTransaction): void {
    const { origin, counter, time } = transaction;
    this.#transactions.set(`${origin}:${counter}@${time}`, transaction);
  }
}
