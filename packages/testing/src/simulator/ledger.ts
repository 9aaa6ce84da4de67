import { decodeBatches, decodeChanges, type PartBatch, type Row, type SealedMessage } from '@antiphon/core';
import type { Commit, MemoryDatabase } from '../memory/store/database.js';
import { readRecord } from '../memory/store/replica-record.js';
import { CAPTURED, OUTBOX } from '../memory/store/spaces.js';
import { named, type ModelTransaction } from './log-model.js';
import { tokensIn } from './tables.js';

interface CommittedToken {
  readonly replica: string;
  readonly commit: number;
}

/**
 * Looks on while databases commit: which writes they committed, and what is in the transactions that they sealed. A power
 * loss takes writes out again, since they may be gone for good.
 */
export class Ledger {
  /** Tokens of writes that a database holds and must not lose. */
  readonly tokens = new Map<string, CommittedToken>();
  /** Captured and not sealed any more after a power loss: sealed again, although the log may have them already. */
  readonly repeatable = new Set<string>();
  readonly #transactions = new Map<string, ModelTransaction>();
  readonly #parts = new Map<string, Uint8Array[]>();

  watch(replica: string, database: MemoryDatabase, onPruned: (message: SealedMessage) => void): void {
    database.onCommit((commit) => {
      const installed = readRecord(database) !== undefined;
      for (const { space, key, before } of commit.changes) {
        if (space.startsWith('rows of '))
          this.#row(replica, commit.number, database.get<Row>({ name: space }, key), installed);
        if (space !== OUTBOX.name) continue;
        const message = database.get(OUTBOX, key);
        if (message === undefined) onPruned(before as SealedMessage);
        else this.#sealed(message);
      }
    });
  }

  lost(replica: string, database: MemoryDatabase, commits: readonly Commit[]): void {
    for (const [, { row }] of database.entries(CAPTURED))
      for (const token of tokensIn(row)) this.repeatable.add(token);
    const numbers = new Set(commits.map(({ number }) => number));
    for (const [token, committed] of this.tokens) {
      if (committed.replica === replica && numbers.has(committed.commit)) this.tokens.delete(token);
    }
  }

  /** What a sealed transaction changed. Two of one id differ in time when a counter was used twice. */
  transaction(origin: string, counter: number, time: number): ModelTransaction | undefined {
    return this.#transactions.get(`${origin}:${counter}@${time}`);
  }

  #row(replica: string, commit: number, row: Row | undefined, installed: boolean): void {
    for (const token of row === undefined ? [] : tokensIn(row)) {
      // Before the database was a replica, nobody captured anything: the rows of then are sealed as they were found.
      if (!installed) this.repeatable.add(token);
      else if (token.startsWith(`${replica}#`) && !this.tokens.has(token))
        this.tokens.set(token, { replica, commit });
    }
  }

  #sealed(message: SealedMessage): void {
    for (const batch of decodeBatches(message.data)) {
      if (batch.kind === 'part') {
        this.#sealedPart(batch);
        continue;
      }
      const { origin, tables } = batch;
      for (const { counter, time, changes } of batch.transactions) {
        this.#remember({ origin, counter, time, changes: changes.map((change) => named(change, tables)) });
      }
    }
  }

  #sealedPart(batch: PartBatch): void {
    const { origin, firstCounter: counter, time, tables } = batch;
    const id = `${origin}:${counter}@${time}`;
    const bodies = [...(this.#parts.get(id) ?? []), batch.body];
    this.#parts.set(id, bodies);
    if (!batch.last) return;
    const changes = [...decodeChanges(bodies, tables)].map((change) => named(change, tables));
    this.#remember({ origin, counter, time, changes });
    this.#parts.delete(id);
  }

  #remember(transaction: ModelTransaction): void {
    const { origin, counter, time } = transaction;
    this.#transactions.set(`${origin}:${counter}@${time}`, transaction);
  }
}
