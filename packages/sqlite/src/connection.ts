import { AntiphonError } from '@antiphon/core';
import type { Database, RowForm, Statement } from './driver/driver.js';
import { isBusy, isFull, storeError } from './errors.js';
import { openError } from './open-error.js';
import { LOG_LIMIT_BYTES } from './reading-pause.js';
import { PROCESS, type Surroundings } from './surroundings.js';

export interface ConnectionOptions {
  readonly file: string;
  readonly synchronous: 'normal' | 'full';
  /**
   * False where rows of other replicas are applied: their origin has checked foreign keys and CHECK
   * constraints.
   */
  readonly enforces: boolean;
  /** How long to wait for another program's transaction before STORE_BUSY. */
  readonly busyTimeoutMs: number;
  readonly surroundings: Surroundings;
}

const MAX_WAIT_STEP_MS = 16;
/** Statements are few and fixed per table; the limit only guards against a defect. */
const MAX_CACHED_STATEMENTS = 4096;

/** Tries until it is not busy, without ever blocking the event loop. */
async function unlessBusy<T>(
  attempt: () => T,
  { busyTimeoutMs, surroundings }: Pick<ConnectionOptions, 'busyTimeoutMs' | 'surroundings'>,
  failed: (thrown: unknown) => AntiphonError,
): Promise<T> {
  const deadline = surroundings.monotonicMs() + busyTimeoutMs;
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, MAX_WAIT_STEP_MS)) {
    try {
      return attempt();
    } catch (thrown) {
      if (!isBusy(thrown) || surroundings.monotonicMs() >= deadline) throw failed(thrown);
      await surroundings.sleep(waitMs);
    }
  }
}

/** One connection to the database on the calling thread, with its statements. */
export class Connection {
  readonly #statements: Readonly<Record<RowForm, Map<string, Statement>>> = {
    object: new Map(),
    array: new Map(),
    value: new Map(),
    'exact object': new Map(),
    'exact array': new Map(),
    'exact value': new Map(),
  };
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #rollback: Statement;
  /** The last transaction found no room. */
  #wasFull = false;

  private constructor(
    readonly db: Database,
    private readonly options: ConnectionOptions,
  ) {
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
  }

  static async open(options: ConnectionOptions): Promise<Connection> {
    const failed = (thrown: unknown): AntiphonError => openError(thrown, options.file);
    // Every wait for a lock is ours: SQLite's own busy handler would block the event loop.
    const db = await unlessBusy(() => options.surroundings.openDatabase(options.file), options, failed);
    try {
      await unlessBusy(() => Connection.#configure(db, options), options, failed);
      return new Connection(db, options);
    } catch (thrown) {
      db.close();
      throw failed(thrown);
    }
  }

  /**
   * For looking only. `address` may be a URI; nothing of the file is set, and a transaction that is
   * begun must only read.
   */
  static async openReadOnly(address: string, file: string, busyTimeoutMs: number): Promise<Connection> {
    const options = {
      file,
      synchronous: 'normal',
      enforces: false,
      busyTimeoutMs,
      surroundings: PROCESS,
    } as const;
    const failed = (thrown: unknown): AntiphonError => openError(thrown, file);
    const db = await unlessBusy(() => PROCESS.openDatabase(address, { readOnly: true }), options, failed);
    try {
      await unlessBusy(() => Connection.#assertEncoding(db, file), options, failed);
      return new Connection(db, options);
    } catch (thrown) {
      db.close();
      throw failed(thrown);
    }
  }

  static #assertEncoding(db: Database, file: string): void {
    const encoding = db.prepare('PRAGMA encoding', 'value').get();
    if (encoding === 'UTF-8') return;
    throw new AntiphonError(
      'STORE_CONTENT',
      `${file} stores text as ${String(encoding)}, and Antiphon replicates UTF-8 databases only. Dump it into a new file.`,
    );
  }

  static #configure(db: Database, options: ConnectionOptions): void {
    Connection.#assertEncoding(db, options.file);
    const mode = db.prepare('PRAGMA journal_mode = WAL', 'value').get();
    if (mode !== 'wal') {
      throw new AntiphonError(
        'STORE_FAILED',
        `${options.file} cannot use write-ahead logging (journal mode stays ${String(mode)}). Put it on a local file system.`,
      );
    }
    Connection.#synchronize(db, options.synchronous);
    db.exec(`PRAGMA foreign_keys = ${options.enforces ? 'ON' : 'OFF'}`);
    db.exec(`PRAGMA ignore_check_constraints = ${options.enforces ? 'OFF' : 'ON'}`);
    // Capture must not depend on it, and REPLACE would otherwise be captured in two ways.
    db.exec('PRAGMA recursive_triggers = OFF');
  }

  static #synchronize(db: Database, synchronous: 'normal' | 'full'): void {
    db.exec(`PRAGMA synchronous = ${synchronous === 'full' ? 'FULL' : 'NORMAL'}`);
    // A longer log saves a tenth of a bulk load; where every commit waits for the disk it costs
    // more than it saves.
    db.exec(`PRAGMA wal_autocheckpoint = ${synchronous === 'full' ? 1000 : 4000}`);
    // What a large transaction, or reads without a pause, have made of it is given back.
    db.exec(`PRAGMA journal_size_limit = ${LOG_LIMIT_BYTES}`);
  }

  get surroundings(): Surroundings {
    return this.options.surroundings;
  }

  /**
   * Outside of a transaction: whether every commit from here on is on the disk before it returns.
   */
  setDurable(durable: boolean): void {
    Connection.#synchronize(this.db, durable ? 'full' : this.options.synchronous);
  }

  /**
   * A statement that is prepared once for each form of its rows. The text is the cache key, so it
   * must not hold values. Who iterates must not run the same one meanwhile.
   */
  statement(sql: string, form: RowForm = 'object'): Statement {
    const statements = this.#statements[form];
    const known = statements.get(sql);
    if (known !== undefined) return known;
    if (statements.size >= MAX_CACHED_STATEMENTS) statements.clear();
    const prepared = this.db.prepare(sql, form);
    statements.set(sql, prepared);
    return prepared;
  }

  /** Takes the write lock. STORE_BUSY after `busyTimeoutMs`. */
  async begin(): Promise<void> {
    if (this.#wasFull) this.#makeRoom();
    try {
      this.#begin.run();
    } catch (thrown) {
      if (!isBusy(thrown)) throw storeError(thrown, 'Cannot begin a transaction');
      const what = 'Another program holds the write lock of the database';
      await unlessBusy(
        () => this.#begin.run(),
        this.options,
        (error) => storeError(error, what),
      );
    }
  }

  /** Takes the write lock if it is free right now. */
  tryBegin(): boolean {
    try {
      this.#begin.run();
      return true;
    } catch (thrown) {
      if (isBusy(thrown)) return false;
      throw storeError(thrown, 'Cannot begin a transaction');
    }
  }

  /** All of it, or nothing when `work` throws. */
  async transaction<T>(work: () => T | Promise<T>): Promise<T> {
    await this.begin();
    try {
      const result = await work();
      this.commit();
      return result;
    } catch (thrown) {
      if (isFull(thrown)) this.#wasFull = true;
      this.rollback();
      throw thrown;
    }
  }

  commit(): void {
    try {
      this.#commit.run();
    } catch (thrown) {
      if (isFull(thrown)) this.#wasFull = true;
      throw thrown;
    }
  }

  /**
   * On a small disk it is the write-ahead log that takes up the room, and it would also take what
   * somebody has freed: it is as large as the disk before SQLite checkpoints it by itself.
   */
  #makeRoom(): void {
    this.#wasFull = false;
    try {
      this.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // No room for that either, or somebody is reading. The transaction that follows says so.
    }
  }

  /** Also after an error that made SQLite roll back by itself. */
  rollback(): void {
    if (this.db.inTransaction) this.#rollback.run();
  }

  get inTransaction(): boolean {
    return this.db.inTransaction;
  }

  close(): void {
    if (!this.db.isOpen) return;
    try {
      this.rollback();
    } finally {
      this.db.close();
    }
  }
}
