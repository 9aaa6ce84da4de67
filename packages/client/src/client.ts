import {
  AntiphonError,
  assertIntegers,
  Bag,
  checkOptions,
  type ClusterDocument,
  endable,
  type LoggedChange,
  type RowObject,
  soleWriter,
} from '@antiphon/core';
import type { Params, SessionPosition, SessionToken, Statement, WriteResult } from '@antiphon/replica';
import {
  callSpan,
  type MailboxProtocol,
  parseSessionToken,
  shapedRows,
  type SpanSpec,
  textsOf,
  traced,
  type TracingSettings,
} from '@antiphon/replica/internal';
import { SpanKind } from '@opentelemetry/api';
import type { BalanceSettings } from './balance/balance-options.js';
import type { ReadNeeds } from './balance/eligibility.js';
import type { Read, ReadChoice, ReadRouter } from './balance/read-router.js';
import type { ReplicaTable } from './balance/replica-table.js';
import {
  type ClientExecuteOptions,
  type ClientStreamOptions,
  EXECUTE_OPTIONS,
  READ_OPTIONS,
  type ReadOptions,
  type ReadResult,
  STREAM_OPTIONS,
} from './client-options.js';
import { clusterChanges, type ClusterChangesOptions } from './changes/cluster-changes.js';
import type { ChosenReplica } from './choose-replica.js';
import type { ClusterClient } from './cluster-client.js';
import { executeInCluster } from './execute-in-cluster.js';
import { askMembers, type MemberAnswer } from './member-answers.js';
import type { ReplicaRef } from './replica-ref.js';
import { rowsOfReplica, type WantedStream } from './rows-of-replica.js';
import { Session } from './session.js';

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_ROWS = 10_000;
const DEFAULT_STREAM_MS = 300_000;
const DEFAULT_IDLE_MS = 30_000;
/** So long a replica may wait for what a read needs, while another one may have it already. */
const CATCH_UP_MS = 100;
/** The replica's own time limit comes first, and says more. */
const ANSWER_MARGIN_MS = 500;

export interface ClientDeps {
  readonly cluster: ClusterClient;
  readonly document: ClusterDocument;
  readonly table: ReplicaTable;
  readonly router: ReadRouter;
  readonly settings: BalanceSettings;
  readonly tracing: TracingSettings;
}

type QueryRequest = Parameters<MailboxProtocol['query']>[0];
type Answer = Awaited<ReturnType<MailboxProtocol['query']>>;
type Ask = Omit<QueryRequest, 'timeoutMs' | 'waitMs'>;

/** An application's connection to a cluster: writes go to the primary, reads to all replicas. */
export class Client implements AsyncDisposable {
  /** What is under way, each to be ended by `close`. */
  readonly #open = new Bag<OpenCall>();
  #isClosed = false;

  constructor(private readonly deps: ClientDeps) {}

  /** The name of the cluster. */
  get cluster(): string {
    return this.deps.cluster.cluster;
  }

  /**
   * Writes, as one transaction, where the primary is; in a cluster of several primaries, on one of
   * them. Where the primary may change, it is written once, also when it changes meanwhile.
   *
   * While NATS is away it waits.
   *
   * @throws AntiphonError what the replica answers: BAD_SQL, CONSTRAINT, CONFLICT, NOT_IN_SYNC and
   *   others; NO_ACTOR, CLOSED: nothing was written; LOG_UNAVAILABLE, TIMEOUT, ABORTED: likewise where
   *   the primary may change, else if the message says so; UnknownOutcomeError: call again with
   *   `requestId: error.id`
   * @example
   * await client.execute([{ sql: 'UPDATE orders SET state = ? WHERE id = ?', params: ['paid', 7] }]);
   */
  async execute(
    statements: readonly Statement[],
    options: ClientExecuteOptions = {},
  ): Promise<WriteResult<readonly number[]>> {
    checkOptions(options, EXECUTE_OPTIONS, 'execute()');
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal: given, ...others } = options;
    const choose = (): Promise<ChosenReplica> => this.#writer();
    const { cluster } = this.deps;
    return this.#traced('execute', statements, () =>
      this.#whileOpen(given, async (signal) => {
        const wanted = { ...others, timeoutMs, choose, signal };
        return (await executeInCluster(cluster, statements, wanted)).result;
      }),
    );
  }

  /**
   * Reads from a replica that serves such a read; another one is asked where that has gone. `R` is
   * what you say a row is; nothing checks it.
   *
   * @throws AntiphonError BAD_SQL, BAD_OPTION, SESSION_LOST; NO_ACTOR, TIMEOUT, OVERLOADED,
   *   LOG_UNAVAILABLE when nobody could serve it in time; ABORTED, CLOSED
   * @example
   * const orders = await client.query<{ id: string }>('SELECT id FROM orders', [], { maxLagMs: 500 });
   */
  async query<R = RowObject>(
    sql: string,
    params: Params = [],
    options: ReadOptions = {},
  ): Promise<readonly R[]> {
    return (await this.read<R>(sql, params, options)).rows;
  }

  /** As `query`, and says who has answered, and a place that a session can go on from. */
  async read<R = RowObject>(
    sql: string,
    params: Params = [],
    options: ReadOptions = {},
  ): Promise<ReadResult<R>> {
    checkOptions(options, READ_OPTIONS, 'query()');
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal: given, maxRows = MAX_ROWS, placed } = options;
    assertIntegers(options.integers ?? 'bigint');
    const promise = promiseOf(options);
    const request: Ask = { sql, params, maxRows, ...promise, ...(placed === true && { placed }) };
    const ask: Read<Answer>['ask'] = (id, { timeoutMs: leftMs, signal: ended, isLast }) => {
      const { consistency } = promise;
      const mayWait = consistency === 'session' || consistency === 'bounded';
      const wait = mayWait && !isLast() ? { waitMs: Math.min(CATCH_UP_MS, leftMs) } : {};
      const limits = { timeoutMs: leftMs + ANSWER_MARGIN_MS, signal: ended };
      return this.deps.cluster.replica(id).ask('query', { ...request, ...wait, timeoutMs: leftMs }, limits);
    };
    const needs = this.#needs(options);
    const { value, replica } = await this.#traced('query', [{ sql }], () =>
      this.#whileOpen(given, (signal) => this.deps.router.read({ ask, needs, timeoutMs, signal })),
    );
    const rows = shapedRows(value, options) as readonly R[];
    const { position } = value;
    return { rows, replica, ...(position && { position }) };
  }

  /**
   * Reads row by row, from one replica and of one moment, in bounded memory: for what is too much
   * for `query`. A `break` ends it. Where the replica goes away amid it, it ends with an error, and
   * nobody else goes on: call again, and it begins anew.
   *
   * @throws AntiphonError as `query`; OVERLOADED when all replicas have as many streams open as
   *   they may; TIMEOUT, CLOSED
   * @example
   * for await (const order of client.stream('SELECT * FROM orders')) {
   *   await handle(order);
   * }
   */
  stream<R = RowObject>(
    sql: string,
    params: Params = [],
    options: ClientStreamOptions = {},
  ): AsyncGenerator<R, void, undefined> {
    this.#assertOpen();
    checkOptions(options, STREAM_OPTIONS, 'stream()');
    assertIntegers(options.integers ?? 'bigint');
    const promise = promiseOf(options);
    const rows = endable((ending) => this.#stream({ sql, params, promise }, options, ending));
    return rows as AsyncGenerator<R, void, undefined>;
  }

  async *#stream(
    asked: Pick<WantedStream, 'sql' | 'params' | 'promise'>,
    options: ClientStreamOptions,
    ending: AbortSignal,
  ): AsyncGenerator<unknown, void, undefined> {
    this.#assertOpen();
    const { cluster, table, router, settings } = this.deps;
    const { timeoutMs = DEFAULT_STREAM_MS, idleMs = DEFAULT_IDLE_MS } = options;
    const over = new OpenCall();
    this.#open.add(over);
    const given = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([over.signal, ending, ...given]);
    const replica = (id: string): ReplicaRef => cluster.replica(id);
    const source = { replica, table, router, silenceMs: settings.silenceMs };
    const wanted: WantedStream = {
      ...{ ...asked, needs: this.#needs(options), signal, shape: options },
      ...{ timeoutMs: Math.ceil(timeoutMs), idleMs: Math.ceil(idleMs) },
    };
    try {
      yield* rowsOfReplica(source, wanted);
    } finally {
      this.#open.delete(over);
    }
  }

  /** Who would be asked now, and why not the others. Asks nobody. Throws BAD_OPTION, CLOSED. */
  explain(options: ReadOptions = {}): ReadChoice {
    this.#assertOpen();
    checkOptions(options, READ_OPTIONS, 'explain()');
    return this.deps.router.explain(this.#needs(options));
  }

  /**
   * Reads and writes that go together: a read shows what was written and read before in the same
   * session, on whichever replicas. `after`: where another session stood, as its `token` says.
   */
  session(after?: SessionToken): Session {
    return new Session(this, after === undefined ? undefined : this.#whole(parseSessionToken(after)));
  }

  /** Where people name a log, the beginning of its name is enough. */
  #whole(place: SessionPosition): SessionPosition {
    const { generation } = this.deps.document;
    const isThisLog = place.generation !== '' && generation.startsWith(place.generation);
    return isThisLog ? { ...place, generation } : place;
  }

  /**
   * Committed changes in the order of the log, from now on unless `from` says otherwise. It goes on
   * when NATS was away; a `break` ends it.
   *
   * @throws AntiphonError as `clusterChanges`
   * @example
   * for await (const change of client.changes({ from: place ?? 'now' })) {
   *   await handle(change);
   *   place = change.cursor; // To go on after it, also in another process.
   * }
   */
  changes(options: Partial<ClusterChangesOptions> = {}): AsyncGenerator<LoggedChange, void, undefined> {
    return endable((ending) => this.#changes(options, ending));
  }

  async *#changes(
    { from = 'now', onProblem = () => undefined, signal, ...others }: Partial<ClusterChangesOptions>,
    ending: AbortSignal,
  ): AsyncGenerator<LoggedChange, void, undefined> {
    this.#assertOpen();
    const over = new OpenCall();
    this.#open.add(over);
    const ends = AbortSignal.any([over.signal, ending, ...(signal === undefined ? [] : [signal])]);
    try {
      yield* clusterChanges(this.deps.cluster, { from, onProblem, signal: ends, ...others });
      this.#assertOpen();
    } finally {
      this.#open.delete(over);
    }
  }

  /** The status of every member, or why it does not answer. Throws LOG_UNAVAILABLE, CLOSED. */
  async status(): Promise<readonly MemberAnswer[]> {
    return this.#whileOpen(undefined, () => askMembers(this.deps.cluster));
  }

  /** Hangs up. What is under way, and what comes later, is CLOSED. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const over of this.#open) over.abort(closed());
    this.deps.table[Symbol.dispose]();
    await this.deps.cluster.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Throws CLOSED. */
  #assertOpen(): void {
    if (this.#isClosed) throw closed();
  }

  #traced<T>(
    operation: 'execute' | 'query',
    statements: readonly Pick<Statement, 'sql'>[],
    work: () => Promise<T>,
  ): Promise<T> {
    const cluster = { cluster: this.cluster, tracing: this.deps.tracing };
    const describe = (): SpanSpec =>
      callSpan(cluster, { operation, kind: SpanKind.CLIENT, sql: textsOf(statements) });
    return traced(describe, work);
  }

  /** `work` gets a signal that `close` aborts as well. */
  async #whileOpen<T>(
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    this.#assertOpen();
    const over = new OpenCall();
    this.#open.add(over);
    try {
      return await work(signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]));
    } finally {
      this.#open.delete(over);
    }
  }

  #needs({
    consistency,
    maxLagMs,
    prefer = this.deps.settings.prefer,
  }: ReadOptions): Omit<ReadNeeds, 'tried' | 'zone'> {
    const { topology, update } = this.deps.document;
    // Only the one writer of an asynchronous cluster knows what was acknowledged last.
    const primaryOnly =
      consistency === 'strong' && update.mode === 'async' && topology.mode === 'primary-replica';
    return { primaryOnly, prefer, ...(maxLagMs !== undefined && { maxLagMs }) };
  }

  /** The primary while it is heard; where it may change, anybody finds it. */
  async #writer(): Promise<ChosenReplica> {
    const { table, document, router, cluster, settings } = this.deps;
    const mayChange = document.failover !== undefined;
    const primary = table.primary?.id ?? soleWriter(document.topology);
    const views = table.views();
    const view = views.find(({ id }) => id === primary);
    const isHeard = view !== undefined && view.circuit !== 'open' && view.silentMs <= settings.silenceMs;
    const id =
      primary !== undefined && (isHeard || !mayChange)
        ? primary
        : (router.explain({ primaryOnly: false, prefer: 'any' }).replica ?? primary);
    if (id === undefined) throw nobody(this.cluster);
    const beat = table.beatOf(id);
    return {
      ...{ id, ref: cluster.replica(id) },
      ...(beat !== undefined && {
        status: {
          ...{ id, instance: beat.instance, nowMs: beat.nowMs },
          ...(mayChange && { epoch: { number: table.primary?.epoch ?? 0, primary: primary ?? '' } }),
        },
      }),
    };
  }
}

/** Ends when the client is closed. */
class OpenCall extends AbortController {
  place = -1;
}

type Promised = Pick<Ask, 'consistency' | 'maxLagMs' | 'after'>;

/** Throws BAD_OPTION. */
function promiseOf({ consistency, maxLagMs, after }: ReadOptions): Promised {
  if (maxLagMs !== undefined && after !== undefined)
    throw new AntiphonError('BAD_OPTION', '`maxLagMs` and `after` exclude each other. Give one of them.');
  const implied = after !== undefined ? 'session' : maxLagMs !== undefined ? 'bounded' : 'any';
  return {
    consistency: consistency ?? implied,
    ...(maxLagMs !== undefined && { maxLagMs: Math.ceil(maxLagMs) }),
    ...(after !== undefined && { after: parseSessionToken(after) }),
  };
}

function closed(): AntiphonError {
  return new AntiphonError('CLOSED', 'The client is closed. Connect again.');
}

function nobody(cluster: string): AntiphonError {
  const message = `No replica of cluster ${cluster} is heard that could take the write. See \`antiphon status\`.`;
  return new AntiphonError('NO_ACTOR', message, { retriable: true, context: { cluster } });
}
