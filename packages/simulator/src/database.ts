import type { Position, Row, SealedMessage, VectorClock } from '@antiphon/core';
import { decodeBatches, decodeChanges } from '@antiphon/core';
import {
  openDatabase,
  type Database,
  type RowForm,
  type SqliteTransaction,
  type SqliteValue,
  type Statement,
} from '@antiphon/sqlite';
import type { NodeClock } from '@antiphon/testing';
import { DatabaseFile } from './disk/database-file.js';
import type { Folder } from './disk/folder.js';
import { OtherProgram, type SchemaEditor } from './disk/other-program.js';
import { DAY_MS, UNIX_EPOCH_JULIAN_DAY } from './disk/surroundings.js';
import { insertRow } from './row-statements.js';
import type { SimulatedTable } from './table.js';

/** What a database says about the replica that it is. */
export interface ReplicaRecord {
  readonly vector: VectorClock;
  readonly position: Position;
  readonly lastCounter: number;
  readonly publishedCounter: number;
  /** Own transactions are still to come out of the log, of which the rows may show some already. */
  readonly isRecovering: boolean;
}

/** One transaction that a database holds. */
export interface HistoryEntry {
  readonly origin: string;
  readonly counter: number;
  /** Its own: what it sealed has this time. Absent: it came from the log. */
  readonly time?: number;
  /** With which commit it came. */
  readonly commit: number;
  /** What the database held with that commit. */
  readonly vector: VectorClock;
}

export interface Commit {
  /** Counts from 1 and is never used twice, not even after a power loss. */
  readonly number: number;
  readonly sealed: readonly SealedMessage[];
  /** Highest counters of the messages that are not kept any more. */
  readonly pruned: readonly number[];
  readonly taken: readonly HistoryEntry[];
  /** Own transactions that left the database for its rescue ledger. */
  readonly rewound: readonly HistoryEntry[];
}

/** An own transaction that the database gave up. */
export interface RescuedTransaction {
  readonly id: number;
  readonly counter: number;
  readonly time: number;
  readonly reason: string;
  readonly rows: readonly Row[];
}

/** What is asked often. */
interface Known {
  readonly commits: number;
  readonly record: ReplicaRecord | undefined;
  readonly captured: boolean;
  readonly tables: readonly string[];
}

const USER_TABLES = `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_antiphon\\_%' ESCAPE '\\'
  AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name`;

interface SealedRow {
  readonly id: number;
  readonly first_counter: number;
  readonly last_counter: number;
  readonly part: number;
  readonly last: number;
  readonly data: Uint8Array;
}

/**
 * A database file of a simulated machine, with what the checks want to know about it. Everything is
 * read from the file, on a connection of its own: nothing is taken from a replica's memory.
 */
export class SimulatedDatabase {
  readonly file: DatabaseFile;
  /** What no database may do, whatever it holds. */
  readonly wrong: string[] = [];
  readonly #programs: readonly OtherProgram[];
  readonly #administrator: OtherProgram;
  /** Without foreign keys. */
  readonly #careless: OtherProgram;
  /** Changes schemas as SQLite's documentation advises. */
  readonly #migration: OtherProgram;
  readonly #listeners = new Set<(commit: Commit) => void>();
  readonly #statements = new Map<string, Statement>();
  #observer: Database;
  #installed = false;
  #known: Known | undefined;
  #tables: { readonly version: number; readonly names: readonly string[] } | undefined;
  #history: HistoryEntry[] = [];
  /** Also what was rewound, since a power loss may take the rewind back. */
  #ever: { readonly entry: HistoryEntry; rewoundBy?: number | undefined }[] = [];
  #vector: VectorClock = {};
  /** Own transactions that it holds, in either way. */
  #own = new Set<number>();
  /** Messages that are kept: id → highest counter. */
  #kept = new Map<number, number>();
  /** Of the last rewind. */
  #rewindMark = '';
  #epoch = 0;

  constructor(
    readonly name: string,
    folder: Folder,
    private readonly machine: NodeClock,
  ) {
    this.file = new DatabaseFile(folder, name);
    this.#observer = openDatabase(this.file.path, { readOnly: true });
    const julianDay = (): number => UNIX_EPOCH_JULIAN_DAY + this.machine.nowMs() / DAY_MS;
    // Two, so that changes of several connections lie side by side.
    const program = (name: string, settings?: readonly string[]): OtherProgram =>
      new OtherProgram(name, this.file, julianDay, settings);
    this.#programs = [program('one'), program('two')];
    this.#administrator = program('administrator');
    this.#careless = program('careless', [
      ...['PRAGMA foreign_keys = OFF', 'PRAGMA recursive_triggers = ON'],
      'PRAGMA ignore_check_constraints = ON',
    ]);
    this.#migration = program('migration', ['PRAGMA foreign_keys = OFF', 'PRAGMA legacy_alter_table = ON']);
    this.file.onCommit((number) => this.#committed(number));
  }

  create(tables: readonly SimulatedTable[], rows: Readonly<Record<string, readonly Row[]>>): void {
    this.execute(tables.map(({ sql }) => sql).join('; '));
    this.#administrator.write((tx) => {
      for (const table of tables) for (const row of rows[table.name] ?? []) insertRow(tx, table, row);
    });
    this.file.sync();
  }

  get busy(): boolean {
    return this.file.busy;
  }

  get commits(): number {
    return this.file.commits;
  }

  /** Called right after each commit, whoever made it. */
  onCommit(listener: (commit: Commit) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** In the order in which they came. */
  get history(): readonly HistoryEntry[] {
    return this.#history;
  }

  /** Users' tables. */
  tableNames(): readonly string[] {
    return this.#now.tables;
  }

  /** Integers are bigint. */
  rows(table: string): readonly Row[] {
    return this.read(`SELECT * FROM "${table}"`);
  }

  /** Integers are bigint. */
  read(sql: string, ...parameters: readonly SqliteValue[]): readonly Row[] {
    return this.#statement(sql, 'exact array').all(...parameters) as Row[];
  }

  record(): ReplicaRecord | undefined {
    return this.#now.record;
  }

  #readRecord(): ReplicaRecord | undefined {
    if (!this.isReplica) return undefined;
    const [state] = this.#read(
      `SELECT replica, position_generation AS generation, position_seq AS seq, own_counter AS own, last_counter AS lastCounter,
       published_counter AS publishedCounter, recovery_counter AS recoveryCounter, vector AS newer FROM _antiphon_state`,
    ) as {
      replica: string;
      generation: string;
      seq: number;
      own: number;
      lastCounter: number;
      publishedCounter: number;
      recoveryCounter: number;
      newer: string;
    }[];
    if (state === undefined) return undefined;
    const { replica, generation, seq, own, lastCounter, publishedCounter, recoveryCounter, newer } = state;
    const vector: Record<string, number> = {};
    for (const [origin, counter] of this.#read('SELECT origin, counter FROM _antiphon_vector', 'array') as [
      string,
      number,
    ][])
      vector[origin] = counter;
    Object.assign(vector, JSON.parse(newer));
    if (own > 0) vector[replica] = own;
    const isRecovering = recoveryCounter > own;
    return { vector, position: { generation, seq }, lastCounter, publishedCounter, isRecovering };
  }

  get isReplica(): boolean {
    if (!this.#installed) {
      const found = this.#read(`SELECT 1 FROM sqlite_schema WHERE name = '_antiphon_state'`, 'value');
      this.#installed = found.length > 0;
    }
    return this.#installed;
  }

  /**
   * Changes that nobody has sealed yet: rows of the table as they are and were, as far as they are
   * known.
   */
  captured(table: string): readonly Row[] {
    if (!this.isReplica) return [];
    const width = this.read(`SELECT name FROM pragma_table_info(?)`, table).length;
    const images = ['n', 'o'].map((image) =>
      Array.from({ length: width }, (_, index) => `${image}${index}`).join(', '),
    );
    const id = `(SELECT id FROM _antiphon_tables WHERE name = ?)`;
    return images.flatMap((columns) =>
      this.read(`SELECT ${columns} FROM _antiphon_outbox WHERE t = ${id}`, table),
    );
  }

  hasCaptured(): boolean {
    return this.#now.captured;
  }

  /** Read once for each commit. */
  get #now(): Known {
    if (this.#known?.commits === this.commits) return this.#known;
    const captured = this.isReplica && this.#read('SELECT 1 FROM _antiphon_outbox LIMIT 1').length > 0;
    const tables = this.#tablesNow();
    this.#known = { commits: this.commits, record: this.#readRecord(), captured, tables };
    return this.#known;
  }

  #tablesNow(): readonly string[] {
    const [version = 0] = this.#read('PRAGMA schema_version', 'value') as number[];
    if (this.#tables?.version !== version)
      this.#tables = { version, names: this.#read(USER_TABLES, 'value') as string[] };
    return this.#tables.names;
  }

  /**
   * An own write has freed what rows of some tables wait for, which are to be looked at in a
   * transaction of its own.
   */
  get unsettled(): boolean {
    return this.isReplica && this.#read('SELECT 1 FROM _antiphon_unsettled LIMIT 1').length > 0;
  }

  /** Another program writes: one transaction. STORE_BUSY, NOT_WRITABLE, CONSTRAINT. */
  writeOutside(run: (tx: SqliteTransaction) => unknown, program = 0): void {
    this.#program(program).write(run);
  }

  /** As `writeOutside`, by a program that minds neither foreign keys nor CHECK constraints. */
  writeCarelessly(run: (tx: SqliteTransaction) => unknown): void {
    this.#careless.write(run);
  }

  /** Another program begins a transaction and takes its time. Returns how to end it. */
  lock(): () => void {
    return this.#administrator.lock();
  }

  /** Another program changes the schema. */
  execute(sql: string): void {
    this.#administrator.execute(sql);
  }

  /** Another program changes the schema, in one transaction. */
  migrate(change: (editor: SchemaEditor) => void): void {
    this.#migration.edit(change);
  }

  vacuum(): void {
    this.#administrator.executeAlone('VACUUM');
  }

  #program(index: number): OtherProgram {
    const program = this.#programs[index % this.#programs.length];
    if (program === undefined) throw new RangeError(`no program ${index}`);
    return program;
  }

  /**
   * The power fails: the newest commits are gone. Returns their numbers. Whoever had it open must
   * be dropped before.
   */
  losePower(commits: number): readonly number[] {
    return this.#wentBack(() => this.file.losePower(commits));
  }

  /**
   * Somebody puts an older copy in its place, also of what was on the disk for certain, but none
   * from before `oldest`. Returns the numbers of the commits it lacks.
   */
  restore(commits: number, oldest: number): readonly number[] {
    return this.#wentBack(() => this.file.restore(commits, oldest));
  }

  #wentBack(goBack: () => number): readonly number[] {
    this.#observer.close();
    this.#statements.clear();
    const before = this.commits;
    const last = goBack();
    this.#observer = openDatabase(this.file.path, { readOnly: true });
    this.#installed = false;
    this.#known = undefined;
    this.#tables = undefined;
    this.#ever = this.#ever.filter(({ entry }) => entry.commit <= last);
    for (const one of this.#ever) if ((one.rewoundBy ?? 0) > last) one.rewoundBy = undefined;
    this.#forgetRewound();
    this.#vector = this.record()?.vector ?? {};
    this.#own = new Set(
      this.#history.filter(({ origin }) => origin === this.name).map(({ counter }) => counter),
    );
    this.#kept = new Map(this.#keptIds());
    this.#rewindMark = this.#readRewindMark();
    this.#epoch = this.#readEpoch().epoch;
    return Array.from({ length: before - last }, (_, index) => last + 1 + index);
  }

  close(): void {
    this.#observer.close();
    this.file.close();
  }

  #committed(number: number): void {
    const commit = this.isReplica
      ? this.#look(number)
      : { number, sealed: [], pruned: [], taken: [], rewound: [] };
    for (const listener of [...this.#listeners]) listener(commit);
  }

  #look(number: number): Commit {
    const vector = this.record()?.vector ?? {};
    const rewound = this.#rewound(vector, number);
    const { sealed, pruned } = this.#outbox(rewound);
    const ours: HistoryEntry[] = [];
    const logged: HistoryEntry[] = [];
    const entry = { commit: number, vector };
    for (const { origin, counter, time } of sealed.flatMap(transactionsOf)) {
      if (origin !== this.name || this.#own.has(counter)) continue;
      this.#own.add(counter);
      ours.push({ origin, counter, time, ...entry });
    }
    for (const [origin, counter] of Object.entries(vector)) {
      const before = this.#vector[origin] ?? 0;
      if (counter < before)
        this.wrong.push(`its vector went back from ${origin}:${before} to ${origin}:${counter}`);
      for (let next = before + 1; next <= counter; next++) {
        if (origin === this.name && this.#own.has(next)) continue;
        if (origin === this.name) this.#own.add(next);
        logged.push({ origin, counter: next, ...entry });
      }
    }
    this.#vector = vector;
    // What is sealed comes before what is applied on top of it; but what is written again at the
    // beginning of an own epoch comes after all that.
    const taken = this.#beginsOwnEpoch() ? [...logged, ...ours] : [...ours, ...logged];
    this.#history.push(...taken);
    this.#ever.push(...taken.map((entry) => ({ entry })));
    return { number, sealed, pruned, taken, rewound };
  }

  #beginsOwnEpoch(): boolean {
    const { epoch, primary } = this.#readEpoch();
    const begins = epoch !== this.#epoch;
    this.#epoch = epoch;
    return begins && primary === this.name;
  }

  #readEpoch(): { readonly epoch: number; readonly primary?: string } {
    const sql =
      'SELECT epoch, primary_replica AS "primary" FROM _antiphon_epochs ORDER BY epoch DESC LIMIT 1';
    const [newest] = this.isReplica ? (this.#read(sql) as { epoch: number; primary: string }[]) : [];
    return newest ?? { epoch: 0 };
  }

  #readRewindMark(): string {
    return this.isReplica ? JSON.stringify(this.#read('SELECT spent, epoch FROM _antiphon_rewound')) : '';
  }

  /** Only a rewind takes own transactions out. */
  #rewound(vector: VectorClock, commit: number): readonly HistoryEntry[] {
    const mark = this.#readRewindMark();
    if (mark === this.#rewindMark) return [];
    this.#rewindMark = mark;
    const own = vector[this.name] ?? 0;
    if (own < (this.#vector[this.name] ?? 0)) this.#vector = { ...this.#vector, [this.name]: own };
    const rewound: HistoryEntry[] = [];
    for (const one of this.#ever) {
      const { origin, counter } = one.entry;
      if (one.rewoundBy !== undefined || origin !== this.name || counter <= own) continue;
      one.rewoundBy = commit;
      rewound.push(one.entry);
      this.#own.delete(counter);
    }
    if (rewound.length > 0) this.#forgetRewound();
    return rewound;
  }

  #forgetRewound(): void {
    this.#history = this.#ever.filter(({ rewoundBy }) => rewoundBy === undefined).map(({ entry }) => entry);
  }

  /** What the rescue ledger keeps, as the file has it: not what was written again. */
  rescues(): readonly RescuedTransaction[] {
    if (!this.isReplica) return [];
    const rescues = this.#read(
      `SELECT id, counter, time, reason FROM _antiphon_rescue WHERE state = 'kept' ORDER BY id`,
    ) as Omit<RescuedTransaction, 'rows'>[];
    return rescues.map((rescue) => ({ ...rescue, rows: this.#rescuedRows(rescue.id) }));
  }

  /** Those that it left, not those that it deleted. */
  #rescuedRows(id: number): readonly Row[] {
    const data = this.#read(
      'SELECT data FROM _antiphon_rescue_data WHERE rescue = ? ORDER BY part',
      'value',
      id,
    );
    const batches = (data as Uint8Array[]).flatMap((message) => decodeBatches(message));
    const bodies = batches.flatMap((batch) => (batch.kind === 'part' ? [batch.body] : []));
    const [first] = batches;
    const ofParts = first?.kind === 'part' ? [...decodeChanges(bodies, first.tables)] : [];
    const whole = batches.flatMap((batch) =>
      batch.kind === 'part' ? [] : batch.transactions.flatMap(({ changes }) => changes),
    );
    return [...ofParts, ...whole].flatMap(({ op, row }) => (op === 'delete' ? [] : [row]));
  }

  #outbox(rewound: readonly HistoryEntry[]): {
    readonly sealed: readonly SealedMessage[];
    readonly pruned: readonly number[];
  } {
    const ids = this.#keptIds();
    const present = new Map(ids);
    const pruned: number[] = [];
    const gone = new Set(rewound.map(({ counter }) => counter));
    for (const [id, counter] of this.#kept) if (!present.has(id) && !gone.has(counter)) pruned.push(counter);
    const sealed: SealedMessage[] = [];
    for (const [id] of ids) {
      if (this.#kept.has(id)) continue;
      const [row] = this.#read(
        'SELECT id, first_counter, last_counter, part, last, data FROM _antiphon_sealed WHERE id = ?',
        'object',
        id,
      ) as SealedRow[];
      if (row === undefined) continue;
      const { first_counter: firstCounter, last_counter: lastCounter, part, last, data } = row;
      sealed.push({ firstCounter, lastCounter, part, last: last !== 0, data });
    }
    this.#kept = present;
    return { sealed, pruned };
  }

  #keptIds(): readonly (readonly [id: number, lastCounter: number])[] {
    if (!this.isReplica) return [];
    return this.#read('SELECT id, last_counter FROM _antiphon_sealed ORDER BY id', 'array') as [
      number,
      number,
    ][];
  }

  #read(sql: string, form: RowForm = 'object', ...parameters: (string | number)[]): unknown[] {
    return this.#statement(sql, form).all(
      ...parameters.map((value) => (typeof value === 'number' ? BigInt(value) : value)),
    );
  }

  #statement(sql: string, form: RowForm): Statement {
    const key = `${form} ${sql}`;
    const known = this.#statements.get(key);
    if (known !== undefined) return known;
    const statement = this.#observer.prepare(sql, form);
    this.#statements.set(key, statement);
    return statement;
  }
}

function transactionsOf({
  data,
}: SealedMessage): readonly { origin: string; counter: number; time: number }[] {
  return decodeBatches(data).flatMap((batch) => {
    const { origin } = batch;
    if (batch.kind === 'part')
      return batch.last ? [{ origin, counter: batch.firstCounter, time: batch.time }] : [];
    return batch.transactions.map(({ counter, time }) => ({ origin, counter, time }));
  });
}
