import { copyFileSync, existsSync, renameSync, rmSync } from 'node:fs';
import { AntiphonError, parsePublish, systemClock } from '@antiphon/core';
import { startReplica, type Replica, type ReplicaOptions } from '@antiphon/replica';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import type { Broker, BrokerConnection } from './broker.js';

/** A replica of a test cluster, on SQLite. */
export type TestReplica = Replica<SqliteTransaction>;

/** As for `createReplica`; the fixture sets what is missing here. */
export type TestReplicaOptions = Omit<ReplicaOptions<SqliteTransaction>, 'cluster' | 'id' | 'store'>;

interface Running {
  readonly replica: TestReplica;
  readonly connection: BrokerConnection;
}

/** The database file and its write-ahead log: all that a killed process leaves. */
const SURVIVING_SUFFIXES = ['', '-wal'];
const REBUILT_SUFFIX = '-shm';

/** A database that lasts, and a replica on it that comes and goes. */
export class Member {
  #running: Running | undefined;

  constructor(
    readonly id: string,
    readonly file: string,
    private readonly cluster: string,
    private readonly broker: Broker,
    private readonly options: TestReplicaOptions,
  ) {}

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** @throws AntiphonError CLOSED while it does not run */
  get replica(): TestReplica {
    if (this.#running !== undefined) return this.#running.replica;
    throw new AntiphonError('CLOSED', `Replica ${this.id} does not run. Start it first.`);
  }

  /** Does nothing when it runs. Errors as for `startReplica`. */
  async start(): Promise<void> {
    if (this.#running !== undefined) return;
    const { cluster, id, file, options } = this;
    const publish = options.publish && parsePublish(cluster, options.publish);
    const connection = await this.broker.connect(cluster, publish);
    const { close: _, ...ports } = connection;
    try {
      const store = sqlite({ file });
      const replica = await startReplica(
        { ...options, cluster, id, store, ...ports, clock: systemClock() },
        () => connection.close(),
      );
      this.#running = { replica, connection };
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** In good order: it sends what is left. Does nothing when it does not run. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.replica.close();
  }

  /**
   * The files are copied before the replica is told anything, and put back when it has closed: so
   * nothing that it does while it closes is left. Its connection is cut first, so that nothing of
   * it is sent either.
   */
  async kill(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    const cut = running.connection.close();
    for (const suffix of SURVIVING_SUFFIXES) copyIfThere(this.file + suffix, this.#survivor(suffix));
    await cut;
    await running.replica.close();
    rmSync(this.file + REBUILT_SUFFIX, { force: true });
    for (const suffix of SURVIVING_SUFFIXES) {
      rmSync(this.file + suffix, { force: true });
      const survivor = this.#survivor(suffix);
      if (existsSync(survivor)) renameSync(survivor, this.file + suffix);
    }
  }

  #survivor(suffix: string): string {
    return `${this.file}-killed${suffix}`;
  }
}

function copyIfThere(from: string, to: string): void {
  if (existsSync(from)) copyFileSync(from, to);
}
