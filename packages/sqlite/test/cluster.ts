import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  admit,
  admitted,
  decodeBatches,
  newOfPart,
  replicatedTables,
  HybridClock,
  systemClock,
  type AdmissionState,
  type ApplyOutcome,
  type ApplyStep,
  type ClusterSchema,
  type InstallOptions,
  type Store,
  type WriteOutcome,
} from '@antiphon/core';
import type { SqliteOptions, SqliteTransaction } from '../src/index.js';
import { SqliteStore } from '../src/store.js';
import { PROCESS, type Surroundings } from '../src/surroundings.js';

/**
 * Databases in a directory of their own, with the sqlite3 shell as the other program that writes to
 * them.
 */
export class Directory {
  readonly path = mkdtempSync(join(tmpdir(), 'antiphon-sqlite-'));

  file(name: string): string {
    return join(this.path, `${name}.db`);
  }

  shell(name: string, sql: string): string {
    return execFileSync('sqlite3', ['-bail', this.file(name)], {
      input: sql,
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      stdio: ['pipe', 'pipe', 'pipe'],
    }).trimEnd();
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export const giveWay = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Entry {
  readonly origin: string;
  readonly data: Uint8Array;
}

/** However busy the machine is, a group takes all of its writes. */
const UNHURRIED: Surroundings = { ...PROCESS, longestRunMs: Infinity };

export type TestStore = Store<SqliteTransaction>;

export interface Member {
  readonly name: string;
  readonly store: TestStore;
  readonly clock: HybridClock;
  published: { counter: number; part: number };
}

/** Replicas of one cluster with a log in memory; nothing moves by itself. */
export class Cluster {
  readonly directory = new Directory();
  readonly log: Entry[] = [];
  readonly members = new Map<string, Member>();
  schema: ClusterSchema | undefined;

  constructor(
    private readonly settings: {
      readonly versions?: boolean;
      readonly writes?: InstallOptions['writes'];
      readonly clock?: () => number;
      readonly surroundings?: Surroundings;
    } = {},
  ) {}

  /** The first replica: its tables and rows become the cluster's. */
  async first(name: string, ddl: string, options: Partial<InstallOptions> = {}): Promise<TestStore> {
    this.directory.shell(name, ddl);
    const store = this.#store({ file: this.directory.file(name) });
    const { tables, ddl: statements } = await store.inspect(
      options.localTriggers === undefined ? {} : { localTriggers: options.localTriggers },
    );
    this.schema = {
      version: 1,
      tables: replicatedTables({ tables }).map(({ schema }) => schema),
      ddl: statements,
    };
    return this.#install(name, store, { writes: 'capture', sealExistingRows: true, ...options });
  }

  /** Another replica, by default with an empty file. */
  join(
    name: string,
    options: Partial<InstallOptions> = {},
    settings: Partial<SqliteOptions> = {},
  ): Promise<TestStore> {
    const store = this.#store({ ...settings, file: this.directory.file(name) });
    return this.#install(name, store, {
      writes: this.settings.writes ?? 'capture',
      createTables: true,
      ...options,
    });
  }

  #store(options: SqliteOptions): TestStore {
    return new SqliteStore(options, this.settings.surroundings ?? UNHURRIED);
  }

  async #install(name: string, store: TestStore, options: Partial<InstallOptions>): Promise<TestStore> {
    if (this.schema === undefined) throw new Error('the first replica brings the schema');
    const clock = new HybridClock({ ...systemClock(), nowMs: this.settings.clock ?? Date.now });
    await store.install(
      {
        identity: { cluster: 'test', replica: name, generation: 'g1', schemaVersion: 1 },
        schema: this.schema,
        writes: 'capture',
        primary: 'first',
        rowVersions: this.settings.versions ?? false,
        createTables: false,
        sealExistingRows: false,
        durable: false,
        ...options,
      },
      clock,
    );
    this.members.set(name, { name, store, clock, published: { counter: 0, part: 0 } });
    return store;
  }

  member(name: string): Member {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`no replica ${name}`);
    return member;
  }

  /** Seals and appends what is new to the log. */
  async publish(name: string): Promise<void> {
    const member = this.member(name);
    await member.store.seal();
    for (;;) {
      const messages = await member.store.sealed(member.published, 1_000_000);
      if (messages.length === 0) return;
      for (const { lastCounter, part, data } of messages) {
        this.log.push({ origin: name, data });
        member.published = { counter: lastCounter, part };
      }
    }
  }

  /** Applies up to `maxEntries` entries that this replica has not seen. */
  async deliver(name: string, maxEntries = Infinity): Promise<ApplyOutcome> {
    const { store } = this.member(name);
    const { position, vector, partial } = store.state();
    const steps: ApplyStep[] = [];
    let progress: AdmissionState = { vector: { ...vector }, partial: { ...partial } };
    const upTo = Math.min(this.log.length, position.seq + maxEntries);
    for (let seq = position.seq + 1; seq <= upTo; seq++) {
      for (const batch of decodeBatches(this.log[seq - 1]!.data)) {
        const admission = admit(progress, batch);
        if (admission.type === 'duplicate') continue;
        if (admission.type === 'hole')
          throw new Error(`${name}: hole before ${batch.origin}:${batch.firstCounter}`);
        if (batch.kind === 'part') {
          steps.push({ type: 'part', batch: newOfPart(batch, admission.skip), seq });
        } else steps.push({ type: 'transactions', batch, skip: admission.skip, seq });
        progress = admitted(progress, batch);
      }
    }
    return store.apply({ steps, position: { generation: 'g1', seq: upTo }, yield: giveWay, sliceMs: 10 });
  }

  /** Everything everywhere; throws when a replica refuses something. */
  async synchronize(): Promise<void> {
    for (const name of this.members.keys()) await this.publish(name);
    for (const name of this.members.keys()) {
      const { refused } = await this.deliver(name);
      if (refused !== undefined) throw refused.error;
    }
  }

  async write(
    name: string,
    ...statements: readonly (string | readonly [string, readonly unknown[]])[]
  ): Promise<WriteOutcome> {
    const [outcome] = await this.member(name).store.write([
      {
        run: (tx) => {
          for (const statement of statements) {
            if (typeof statement === 'string') tx.run(statement);
            else tx.run(statement[0], statement[1]);
          }
        },
      },
    ]);
    if (outcome === undefined || outcome.type === 'left-out') throw new Error('a write had no outcome');
    return outcome;
  }

  shell(name: string, sql: string): string {
    return this.directory.shell(name, sql);
  }

  /** The rows of a table as SQL literals, exact to the type and byte. */
  rows(name: string, table: string): string[] {
    const quoted = `"${table.replaceAll('"', '""')}"`;
    const columns = this.schema!.tables.find((candidate) => candidate.name === table)!.columns.map(
      ({ name: column }) => `"${column.replaceAll('"', '""')}"`,
    );
    const list = columns
      .map((column) => `typeof(${column}) || ':' || quote(${column}) || ':' || hex(CAST(${column} AS BLOB))`)
      .join(` || ', ' || `);
    const text = this.directory.shell(
      name,
      `.separator "|" "\\036"\nSELECT ${list} FROM ${quoted} ORDER BY 1;`,
    );
    return text.split('\u001e').filter((line) => line.trim() !== '');
  }

  versions(name: string): string {
    const tables = this.directory
      .shell(name, `SELECT name FROM sqlite_schema WHERE name GLOB '_antiphon_v[0-9]*' ORDER BY name;`)
      .split('\n')
      .filter((table) => table !== '');
    return tables
      .map((table) => this.directory.shell(name, `SELECT '${table}', * FROM ${table} ORDER BY 2, 3;`))
      .join('\n');
  }

  async close(): Promise<void> {
    for (const { store } of this.members.values()) await store.close();
    this.directory.remove();
  }
}
