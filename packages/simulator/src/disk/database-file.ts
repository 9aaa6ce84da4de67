import { copyFileSync, statSync, truncateSync } from 'node:fs';
import { openDatabase, type Database, type OpenOptions } from '@antiphon/sqlite';
import { SimulatedConnection, type ConnectionListener, type Program } from './connection.js';
import type { Folder } from './folder.js';

/** As many commits can a power cut take back at most. */
const MOST_UNSYNCED_COMMITS = 64;

/** What the write-ahead log held at a commit. */
interface CommittedState {
  readonly number: number;
  readonly walBytes: number;
}

/**
 * A real SQLite database, and how it was at each of its commits: the write-ahead log is never
 * checkpointed, so that an earlier state is the same file with less of the log. Its place changes
 * when it goes back, since whoever had it open still holds the old one.
 */
export class DatabaseFile implements ConnectionListener {
  #path: string;
  #places = 0;
  readonly #states: CommittedState[] = [];
  readonly #listeners = new Set<(commit: number) => void>();
  readonly #open = new Set<SimulatedConnection>();
  /** Closing the last connection would move the log into the database. */
  readonly #holders: Database[] = [];
  #commits = 0;
  /** Commits up to here are on the disk for certain. */
  #durable = 0;
  #writer: SimulatedConnection | undefined;
  /** Its disk has no room: nobody can commit. */
  full = false;

  constructor(
    private readonly folder: Folder,
    private readonly name: string,
  ) {
    this.#path = folder.fileOf(name);
    this.#hold();
    // Without a first page there is no write-ahead log.
    this.#holders[0]?.exec('PRAGMA user_version = 1');
    this.#states.push({ number: 0, walBytes: this.#walBytes() });
  }

  get path(): string {
    return this.#path;
  }

  get commits(): number {
    return this.#commits;
  }

  /** Somebody is writing. */
  get busy(): boolean {
    // A statement may end a transaction by itself, which no listener hears of.
    return this.#writer?.inTransaction === true;
  }

  connect(program: Program, options: OpenOptions = {}): Database {
    const connection = new SimulatedConnection(openDatabase(this.#path, options), this, program);
    this.#open.add(connection);
    return connection;
  }

  /** Called right after each commit, whoever made it. */
  onCommit(listener: (commit: number) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  begun(connection: SimulatedConnection): void {
    this.#writer = connection;
  }

  ended(connection: SimulatedConnection): void {
    if (this.#writer === connection) this.#writer = undefined;
  }

  closed(connection: SimulatedConnection): void {
    this.ended(connection);
    this.#open.delete(connection);
  }

  /** `durable`: it is on the disk, with everything before it. */
  committed(connection: SimulatedConnection, durable: boolean): void {
    this.ended(connection);
    this.#commit(durable);
  }

  /** A statement committed by itself. */
  committedAlone(): void {
    this.#commit(false);
  }

  #commit(durable: boolean): void {
    this.#commits++;
    this.#states.push({ number: this.#commits, walBytes: this.#walBytes() });
    if (durable) this.#durable = this.#commits;
    for (const listener of [...this.#listeners]) listener(this.#commits);
  }

  /** Everything committed is on the disk for certain. */
  sync(): void {
    this.#durable = this.#commits;
  }

  /** A program has ended, in the middle of whatever it did. */
  drop(program: Program): void {
    for (const connection of [...this.#open]) if (connection.program === program) connection.close();
  }

  /**
   * The power fails: the newest commits are gone, as many as are not on the disk for certain.
   * Returns the number of the last that is left.
   */
  losePower(commits: number): number {
    const least = Math.max(this.#durable, this.#commits - MOST_UNSYNCED_COMMITS);
    const index = this.#states.findIndex(({ number }) => number >= least);
    return this.#goBack(Math.max(index, this.#states.length - 1 - commits));
  }

  /**
   * Somebody puts an older copy in its place, which has commit `oldest` at least. Returns the
   * number of its last commit.
   */
  restore(commits: number, oldest: number): number {
    const newest = this.#states.length - 1;
    const least = this.#states.findIndex(({ number }) => number >= oldest);
    return this.#goBack(least < 0 ? newest : Math.max(least, newest - commits));
  }

  close(): void {
    for (const connection of [...this.#open]) connection.close();
    for (const holder of this.#holders) holder.close();
  }

  #goBack(index: number): number {
    for (const connection of [...this.#open]) connection.close();
    const state = this.#states[index];
    if (state === undefined) throw new RangeError(`${this.name} has no state ${index}`);
    const from = this.#path;
    this.#path = this.folder.fileOf(`${this.name}-${++this.#places}`);
    copyFileSync(from, this.#path);
    if (state.walBytes > 0) {
      copyFileSync(`${from}-wal`, `${this.#path}-wal`);
      truncateSync(`${this.#path}-wal`, state.walBytes);
    }
    this.#states.length = index + 1;
    this.#durable = Math.min(this.#durable, state.number);
    this.#hold();
    return state.number;
  }

  #hold(): void {
    const holder = openDatabase(this.#path);
    holder.exec('PRAGMA journal_mode = WAL');
    holder.exec('PRAGMA wal_autocheckpoint = 0');
    this.#holders.push(holder);
  }

  #walBytes(): number {
    return statSync(`${this.#path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }
}
