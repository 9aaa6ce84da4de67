import { AntiphonError } from '@antiphon/core';
import type { Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { benchRow, COLUMNS } from '../rows.js';
import type { SyncWrites, SyncWritten } from './protocol.js';

const INSERT = `INSERT INTO orders VALUES (${COLUMNS.map(() => '?').join(', ')})`;
const READ = 'SELECT quantity FROM orders WHERE id = ?';
const MODIFY = 'UPDATE orders SET quantity = ? WHERE id = ?';

/**
 * Concurrent writers of one process; each waits for the acknowledgements of its write before it
 * makes the next one.
 */
export class SyncLoad {
  readonly #latenciesMs: number[] = [];
  #taken = 0;
  #ended = false;
  #inserted = 0;
  #updated = 0;
  #conflicts = 0;

  constructor(
    private readonly replica: Replica<SqliteTransaction>,
    private readonly request: SyncWrites,
  ) {}

  async run(): Promise<SyncWritten> {
    const rejectedBefore = this.#rejections();
    const startedNs = process.hrtime.bigint();
    await Promise.all(Array.from({ length: this.request.writers }, () => this.#writer()));
    const endedNs = process.hrtime.bigint();
    const rejected = this.#rejections();
    return {
      startedNs,
      endedNs,
      inserted: this.#inserted,
      updated: this.#updated,
      conflicts: this.#conflicts,
      latenciesMs: Float64Array.from(this.#latenciesMs),
      ...(rejected === undefined ? {} : { rejections: rejected - (rejectedBefore ?? 0) }),
    };
  }

  /** Each writer ends after the write that it is making. */
  end(): void {
    this.#ended = true;
  }

  async #writer(): Promise<void> {
    const { firstId, transactions, hotShare, hotIds } = this.request;
    while (!this.#ended && this.#taken < transactions) {
      const id = firstId + this.#taken;
      this.#taken += 1;
      const hotId = Math.random() < hotShare ? hotIds[Math.floor(Math.random() * hotIds.length)] : undefined;
      const started = performance.now();
      if (!(await this.#write(id, hotId))) continue;
      this.#latenciesMs.push(performance.now() - started);
      if (hotId === undefined) this.#inserted += 1;
      else this.#updated += 1;
    }
  }

  /** False when it was rejected for good. */
  async #write(id: number, hotId: number | undefined): Promise<boolean> {
    try {
      const { acks } = await this.replica.transaction((tx) => {
        if (hotId === undefined) tx.run(INSERT, benchRow(id));
        else increment(tx, hotId);
      });
      if (acks?.reached !== true) throw new Error(`only ${acks?.by.join(', ')} acknowledged a write in time`);
      return true;
    } catch (error) {
      if (!(error instanceof AntiphonError) || error.code !== 'CONFLICT') throw error;
      this.#conflicts += 1;
      return false;
    }
  }

  #rejections(): number | undefined {
    return this.replica.status().sync?.counts['certificationRejected'];
  }
}

/** Read, modify, write: what the new value is depends on what was read. */
function increment(tx: SqliteTransaction, id: number): void {
  const row = tx.get<{ readonly quantity: number | bigint }>(READ, [id]);
  tx.run(MODIFY, [Number(row?.quantity) + 1, id]);
}
