import { join } from 'node:path';
import {
  admit,
  admitted,
  AntiphonError,
  creationObstacles,
  decodeBatches,
  HybridClock,
  inEpoch,
  newOfPart,
  systemClock,
  type AdmissionState,
  type ApplyStep,
  type ClusterSchema,
  type EpochRecord,
  type InstallOptions,
  type Store,
} from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { ForeignDatabase } from './database.js';
import type { Script } from './script.js';

export interface Replica {
  readonly name: string;
  readonly file: string;
  /** Another program's connection to the same database. */
  readonly foreign: ForeignDatabase;
  store: Store<SqliteTransaction>;
  published: { counter: number; part: number };
}

/**
 * In the past, so that what SQLite says about when a change was made is in the future for every
 * replica: a run does not depend on it.
 */
const START_MS = Date.UTC(2020, 0, 1);
const giveWay = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Two replicas on real stores, with a log in memory; nothing moves by itself. */
export class Replicas {
  readonly #log: (Uint8Array | EpochRecord)[] = [];
  readonly #replicas = new Map<string, Replica>();
  #schema: ClusterSchema | undefined;
  #nowMs = START_MS;
  #tokens = 0;

  constructor(
    private readonly folder: string,
    private readonly script: Script,
  ) {}

  get(name: string): Replica {
    const replica = this.#replicas.get(name);
    if (replica === undefined) throw new Error(`no replica ${name}`);
    return replica;
  }

  get all(): readonly Replica[] {
    return [...this.#replicas.values()];
  }

  get tables(): readonly string[] {
    return this.#schema?.tables.map(({ name }) => name) ?? [];
  }

  /** Of tables that are not, the others have no rows: theirs may be orphans there. */
  get areAllReplicated(): boolean {
    const { foreign } = this.get('a');
    const others = foreign.tables('*').filter((name) => !/^(_antiphon_[a-z]|sqlite_)/.test(name));
    return others.every((name) => this.tables.includes(name));
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /**
   * Makes the database of the first replica, which has tables and rows already, and that of the
   * second.
   */
  async start(): Promise<void> {
    const file = join(this.folder, 'a.db');
    const foreign = new ForeignDatabase(file);
    for (const statement of this.script.ddl) foreign.db.exec(statement);
    for (const statement of this.script.setup) foreign.attempt(statement);
    const store = sqlite({ file });
    this.#replicas.set('a', { name: 'a', file, foreign, store, published: { counter: 0, part: 0 } });
    const inspection = await store.inspect();
    const [obstacle] = creationObstacles(inspection, { named: false, rowVersions: this.script.rowVersions });
    if (obstacle !== undefined) throw new AntiphonError('UNSUPPORTED_TABLE', obstacle);
    const { tables, ddl } = inspection;
    const replicated = tables.filter(({ unsupported }) => unsupported === undefined);
    this.#schema = { version: 1, tables: replicated.map(({ schema }) => schema), ddl };
    await this.#install(this.get('a'), { sealExistingRows: true });
    const other = join(this.folder, 'b.db');
    const second = sqlite({ file: other });
    const replica = { name: 'b', file: other, store: second, published: { counter: 0, part: 0 } };
    const [installed] = await Promise.allSettled([this.#install(replica, { createTables: true })]);
    this.#replicas.set('b', { ...replica, foreign: new ForeignDatabase(other) });
    if (installed.status === 'rejected') throw installed.reason;
    await this.synchronize();
  }

  async #install(replica: Pick<Replica, 'name' | 'store'>, options: Partial<InstallOptions>): Promise<void> {
    const { writers, rowVersions, certified, libraryOnly, failover } = this.script;
    const { name, store } = replica;
    if (this.#schema === undefined) throw new Error('the first replica brings the schema');
    const writes = writers === 1 && name !== 'a' ? 'refuse' : libraryOnly ? 'library' : 'capture';
    await store.install(
      {
        identity: { cluster: 'fuzz', replica: name, generation: 'g1', schemaVersion: 1 },
        schema: this.#schema,
        writes,
        ...(failover && { asPrimary: libraryOnly ? 'library' : 'capture' }),
        primary: 'a',
        rowVersions,
        certified,
        createTables: false,
        sealExistingRows: false,
        durable: false,
        ...options,
      },
      new HybridClock({ ...systemClock(), nowMs: () => this.#nowMs }),
    );
  }

  async restart(name: string): Promise<void> {
    const replica = this.get(name);
    await replica.store.close();
    replica.store = sqlite({ file: replica.file });
    await this.#install(replica, {});
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  token(): string {
    return `t${this.#tokens++}`;
  }

  get end(): number {
    return this.#log.length;
  }

  /** A group's message enters the log where its writer commits it. */
  append(data: Uint8Array): number {
    return this.#log.push(data);
  }

  /** The first replica opens an epoch; what it publishes from here on comes after these numbers. */
  async beginEpoch(after: number): Promise<void> {
    const first = this.get('a');
    const { epochs } = first.store.state();
    const record = { epoch: epochs.length, primary: 'a', instance: `i${epochs.length}`, after } as const;
    this.#log.push({ ...record, by: 'a', why: 'forced', atMs: this.#nowMs, leaves: [] });
    await this.deliver('a');
    first.published = { counter: after, part: 0 };
  }

  async publish(name: string): Promise<void> {
    const replica = this.get(name);
    await replica.store.seal();
    for (;;) {
      const messages = await replica.store.sealed(replica.published, 10_000_000);
      if (messages.length === 0) return;
      for (const { lastCounter, part, last, data } of messages) {
        this.#log.push(data);
        replica.published = { counter: lastCounter, part };
        if (this.script.failover && last) replica.store.markPublished(lastCounter);
      }
    }
  }

  async deliver(name: string, entries = Infinity): Promise<void> {
    const { store } = this.get(name);
    const { position, vector, partial } = store.state();
    const steps: ApplyStep[] = [];
    let progress: AdmissionState = { vector: { ...vector }, partial: { ...partial } };
    const end = Math.min(this.#log.length, position.seq + entries);
    for (let seq = position.seq + 1; seq <= end; seq++) {
      const entry = this.#log[seq - 1] ?? new Uint8Array();
      if (!(entry instanceof Uint8Array)) {
        steps.push({ type: 'epoch', record: entry, seq, elected: entry.primary === name });
        progress = inEpoch(progress, entry);
        continue;
      }
      for (const batch of decodeBatches(entry)) {
        const admission = admit(progress, batch);
        if (admission.type === 'duplicate') continue;
        if (admission.type === 'hole')
          throw new Error(`${name}: hole before ${batch.origin}:${batch.firstCounter}`);
        if (batch.kind === 'part') steps.push({ type: 'part', batch: newOfPart(batch, admission.skip), seq });
        else steps.push({ type: 'transactions', batch, skip: admission.skip, seq });
        progress = admitted(progress, batch);
      }
    }
    const { refused } = await store.apply({
      steps,
      position: { generation: 'g1', seq: end },
      yield: giveWay,
      sliceMs: 10,
    });
    if (refused !== undefined) throw refused.error;
  }

  async synchronize(): Promise<void> {
    for (const { name } of this.all) await this.publish(name);
    for (const { name } of this.all) await this.deliver(name);
  }

  async close(): Promise<void> {
    for (const { store, foreign } of this.all) {
      foreign.close();
      await store.close();
    }
  }
}
