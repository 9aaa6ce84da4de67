import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AntiphonError,
  assertReplicaId,
  checkOptions,
  checkRequired,
  parseTopology,
  replicatedTables,
  sleep,
  soleWriter,
  stayingBehind,
  systemClock,
  type OptionNames,
} from '@antiphon/core';
import { verifyCluster, type VerifyResult } from '@antiphon/replica';
import { REPLICA_OPTIONS } from '@antiphon/replica/internal';
import { inspectFile, openDatabase } from '@antiphon/sqlite';
import type { Broker, BrokerKind } from './broker.js';
import { Member, type TestReplica, type TestReplicaOptions } from './member.js';
import { MemoryBroker } from './memory-broker.js';
import { NatsBroker } from './nats-broker.js';

export type { TestReplica, TestReplicaOptions } from './member.js';

/** What a test cluster is made of. */
export interface TestClusterOptions {
  /**
   * SQL that makes the tables, and perhaps rows, in the database of the first replica. At least one
   * of the tables must be one that can be replicated.
   */
  readonly schema: string;
  /**
   * How many replicas (`r1`, `r2`, …), or their ids.
   * @defaultValue 3
   */
  readonly replicas?: number | readonly string[];
  /**
   * What carries the log. `'nats'` needs a nats-server on this machine; `'memory'` needs nothing.
   * @defaultValue 'nats'
   */
  readonly broker?: BrokerKind;
  /**
   * Options of every replica: topology, update, limits and others, as for `createReplica`.
   * `publish` needs the broker `'nats'`, and a primary that is named must be the first replica.
   */
  readonly options?: TestReplicaOptions;
}

/** How long to wait. */
export interface WaitOptions {
  /**
   * In milliseconds; TIMEOUT after that.
   * @defaultValue 15 000
   */
  readonly timeoutMs?: number;
}

const CLUSTER_OPTIONS: OptionNames<TestClusterOptions> = {
  ...{ schema: true, replicas: true, broker: true, options: true },
};
const WAIT_OPTIONS: OptionNames<WaitOptions> = { timeoutMs: true };
const { cluster: _cluster, id: _id, store: _store, ...TEST_REPLICA_OPTIONS } = REPLICA_OPTIONS;
const DEFAULT_REPLICAS = 3;
const CLUSTER = 'test';
const DEFAULT_WAIT_MS = 15_000;
const POLL_MS = 5;
const SHOWN_ROWS = 5;
/** The longest that a timer can wait. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * A cluster in this process, for the tests of a program: real replicas on SQLite files in a
 * temporary folder.
 *
 * @example
 * ```ts
 * await using cluster = await TestCluster.start({
 *   schema: 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)',
 *   options: { topology: { mode: 'multi-primary' } },
 * });
 * await cluster.replica('r1').execute([{ sql: "INSERT INTO orders VALUES (1, 'new')" }]);
 * await cluster.killReplica('r2');
 * await cluster.startReplica('r2');
 * await cluster.caughtUp();
 * await cluster.assertEqual();
 * ```
 */
export class TestCluster implements AsyncDisposable {
  readonly #members = new Map<string, Member>();
  /**
   * Replicas do not keep a process alive, and in memory nothing else does: a program would end amid
   * an `await`.
   */
  readonly #alive = setInterval(() => undefined, NEVER_MS);

  private constructor(
    /** The name of the cluster. */
    readonly name: string,
    /**
     * The folder of the databases, and of the store of a nats-server. It goes away with the
     * cluster.
     */
    readonly folder: string,
    /** What carries the log; stop it to take the log away. */
    readonly broker: Broker,
    private readonly options: TestReplicaOptions,
  ) {}

  /**
   * Starts the broker, then the first replica, which creates the cluster, then the others, and
   * waits until they have its rows. What was started is ended when something fails. The cluster
   * keeps the process alive until it is closed.
   *
   * @throws AntiphonError BAD_OPTION, UNSUPPORTED_TABLE when no table of `schema` can be
   * replicated, NATS_SERVER_NOT_FOUND, NATS_SERVER_START, and what `createReplica` throws.
   */
  static async start(options: TestClusterOptions): Promise<TestCluster> {
    checkRequired(options, CLUSTER_OPTIONS, 'TestCluster.start()', ['schema']);
    const ids = idsOf(options.replicas ?? DEFAULT_REPLICAS);
    assertReplicaOptions(options, ids);
    const folder = mkdtempSync(join(tmpdir(), 'antiphon-test-cluster-'));
    let cluster: TestCluster | undefined;
    try {
      const broker =
        options.broker === 'memory' ? new MemoryBroker() : await NatsBroker.start(join(folder, 'nats'));
      const started = new TestCluster(CLUSTER, folder, broker, options.options ?? {});
      cluster = started;
      const [first = '', ...others] = ids;
      runSql(started.file(first), options.schema);
      await assertCreates(started.file(first), options.options);
      await started.startReplica(first);
      // Settled, so that none is still starting when everything is ended.
      const rest = await Promise.allSettled(others.map((id) => started.startReplica(id)));
      for (const result of rest) if (result.status === 'rejected') throw result.reason;
      await started.caughtUp();
      return started;
    } catch (error) {
      await cluster?.[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** The replicas of the members that run, in the order in which they joined. */
  get replicas(): readonly TestReplica[] {
    return this.#running.map(({ replica }) => replica);
  }

  /**
   * The replica of a member that runs.
   *
   * @throws AntiphonError NO_ACTOR (no such member), CLOSED (it does not run)
   */
  replica(id: string): TestReplica {
    return this.#member(id).replica;
  }

  /** The SQLite file of this member; another program may write to it. */
  file(id: string): string {
    return join(this.folder, `${id}.db`);
  }

  /**
   * Starts a member that is stopped, or a new one. It may still be behind the log: see `caughtUp`.
   *
   * @throws what `createReplica` throws
   */
  async startReplica(id: string): Promise<TestReplica> {
    assertReplicaId(id);
    const member =
      this.#members.get(id) ?? new Member(id, this.file(id), this.name, this.broker, this.options);
    this.#members.set(id, member);
    await member.start();
    return member.replica;
  }

  /** Closes it in good order: it sends what is left. */
  async stopReplica(id: string): Promise<void> {
    await this.#member(id).stop();
  }

  /**
   * Ends it as a kill of its process would: only the database file is left, as it was at this
   * moment, and nothing more is sent. Other programs must have closed the file.
   */
  async killReplica(id: string): Promise<void> {
    await this.#member(id).kill();
  }

  /** Stops a member in good order, and starts it again on its file. */
  async restartReplica(id: string): Promise<TestReplica> {
    await this.stopReplica(id);
    return this.startReplica(id);
  }

  /**
   * Resolves when every running replica has applied what any of them had committed at the call,
   * also what other programs wrote to its file.
   *
   * @throws AntiphonError TIMEOUT, and what `caughtUp` of a replica throws.
   */
  async caughtUp(options: WaitOptions = {}): Promise<void> {
    const timeoutMs = timeoutOf(options, 'caughtUp()');
    const clock = systemClock();
    const untilMs = clock.monotonicMs() + timeoutMs;
    const leftMs = (): number => Math.max(1, untilMs - clock.monotonicMs());
    const unsent = (): TestReplica | undefined =>
      this.replicas.find((replica) => {
        const { unsealed, unpublished } = replica.status().outbox;
        return unsealed + unpublished > 0;
      });
    for (let waiting = unsent(); waiting !== undefined; waiting = unsent()) {
      if (clock.monotonicMs() >= untilMs) {
        const message =
          `Replica ${waiting.id} has changes that are not in the log after ${timeoutMs} ms. ` +
          'See its status().';
        throw new AntiphonError('TIMEOUT', message, { context: { replica: waiting.id } });
      }
      await sleep(clock, POLL_MS);
    }
    await Promise.all(this.replicas.map((replica) => replica.caughtUp({ timeoutMs: leftMs() })));
  }

  /**
   * Compares every row of every running replica, as `antiphon verify` does.
   *
   * @throws AntiphonError BAD_OPTION, TIMEOUT, NO_ACTOR when fewer than two run
   */
  async verify(options: WaitOptions = {}): Promise<VerifyResult> {
    const timeoutMs = timeoutOf(options, 'verify()');
    const connection = await this.broker.connect(this.name);
    try {
      const { bus, registry } = connection;
      return await verifyCluster({ cluster: this.name, bus, registry, clock: systemClock(), timeoutMs });
    } finally {
      await connection.close();
    }
  }

  /**
   * Throws an Error that names tables and rows unless every running replica holds the same rows.
   */
  async assertEqual(options: WaitOptions = {}): Promise<void> {
    const { outcome, differences, reason } = await this.verify(options);
    if (outcome === 'equal') return;
    if (outcome === 'unsettled')
      throw new Error(`The replicas could not be compared: ${reason ?? 'they kept changing'}`);
    const lines = differences.map(({ table, replicas: [left, right], rows }) => {
      const keys = rows.slice(0, SHOWN_ROWS).map(({ key }) => key.map(String).join(', '));
      return `  ${table} on ${left} and ${right}: rows ${keys.join('; ')}`;
    });
    throw new Error(`The replicas hold different rows:\n${lines.join('\n')}`);
  }

  /** Closes replicas and broker, and removes the folder. Idempotent. */
  async close(): Promise<void> {
    try {
      await Promise.all([...this.#members.values()].map((member) => member.stop()));
      await this.broker.close();
    } finally {
      clearInterval(this.#alive);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #running(): readonly Member[] {
    return [...this.#members.values()].filter(({ isRunning }) => isRunning);
  }

  #member(id: string): Member {
    const member = this.#members.get(id);
    if (member !== undefined) return member;
    const known = [...this.#members.keys()].join(', ');
    throw new AntiphonError('NO_ACTOR', `There is no replica ${id} in this test cluster. It has ${known}.`);
  }
}

/** Throws BAD_OPTION. */
function timeoutOf(options: WaitOptions, what: string): number {
  checkOptions(options, WAIT_OPTIONS, what);
  return options.timeoutMs ?? DEFAULT_WAIT_MS;
}

function idsOf(replicas: number | readonly string[]): readonly string[] {
  const ids =
    typeof replicas === 'number' ? Array.from({ length: replicas }, (_, n) => `r${n + 1}`) : replicas;
  if (ids.length > 0) return ids;
  throw new AntiphonError('BAD_OPTION', 'A test cluster needs at least one replica. Give a number or ids.');
}

/** What only the start of a replica would refuse, in its own words. Throws BAD_OPTION. */
function assertReplicaOptions({ options = {}, broker }: TestClusterOptions, ids: readonly string[]): void {
  checkOptions(options, TEST_REPLICA_OPTIONS, 'A replica of TestCluster.start()');
  for (const id of ids) assertReplicaId(id);
  if (options.publish !== undefined && broker === 'memory')
    throw new AntiphonError(
      'BAD_OPTION',
      "`publish` needs a nats-server, and `broker` of TestCluster.start() is 'memory'. Give 'nats', or leave `publish` out.",
    );
  const primary = options.topology === undefined ? undefined : soleWriter(parseTopology(options.topology));
  const [first = ''] = ids;
  if (primary !== undefined && primary !== first)
    throw new AntiphonError(
      'BAD_OPTION',
      `The primary is ${primary}, and ${first}, the first of the \`replicas\` of TestCluster.start(), creates the cluster. Name ${primary} first.`,
    );
}

/**
 * Nobody else is there to create the cluster: what would wait for that is told at once. Throws
 * BAD_OPTION, UNSUPPORTED_TABLE.
 */
async function assertCreates(
  file: string,
  { tables: named, localTriggers }: TestReplicaOptions = {},
): Promise<void> {
  const isNamed = named !== undefined && named !== 'auto';
  const inspection = await inspectFile(file, localTriggers && { localTriggers });
  // Names of tables that are not there are refused by the start.
  const { tables } = inspection;
  if (isNamed ? tables.length > 0 : replicatedTables(inspection).length > 0) return;
  const reasons = stayingBehind(inspection)
    .filter(({ type }) => type === 'table')
    .map(({ name, reason }) => `${name}, ${reason}`);
  const [code, why] =
    reasons.length === 0
      ? (['BAD_OPTION', 'makes no table'] as const)
      : (['UNSUPPORTED_TABLE', `makes no table that can be replicated (${reasons.join('; ')})`] as const);
  throw new AntiphonError(
    code,
    `\`schema\` of TestCluster.start() ${why}, and no cluster can be created without one. Give it a table with a primary key.`,
  );
}

function runSql(file: string, sql: string): void {
  const database = openDatabase(file);
  try {
    database.exec(sql);
  } finally {
    database.close();
  }
}
