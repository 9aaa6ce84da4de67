import {
  type AckLevel,
  AntiphonError,
  assertIntegers,
  checkOptions,
  type ClusterDocument,
  type Integers,
  type LoggedChange,
  oneOf,
  type OptionKind,
  type OptionNames,
  type RowObject,
  soleWriter,
} from '@antiphon/core';
import type {
  Consistency,
  Params,
  SessionPosition,
  SessionToken,
  Statement,
  WriteResult,
} from '@antiphon/replica';
import { type MailboxProtocol, parseSessionToken, rowObjects } from '@antiphon/replica/internal';
import type { BalanceSettings } from './balance/balance-options.js';
import type { ReadNeeds } from './balance/eligibility.js';
import type { ReadChoice, ReadRouter } from './balance/read-router.js';
import type { ReplicaTable } from './balance/replica-table.js';
import { clusterChanges, type ClusterChangesOptions } from './changes/cluster-changes.js';
import type { ChosenReplica } from './choose-replica.js';
import type { ClusterClient } from './cluster-client.js';
import { executeInCluster } from './execute-in-cluster.js';
import { askMembers, type MemberAnswer } from './member-answers.js';
import { Session } from './session.js';

/** What a read promises, and its bounds. */
export interface ReadOptions {
  /**
   * As for `replica.query`: `'any'`: what some replica has. `'bounded'`: what the log held
   * `maxLagMs` ago. `'session'`: at least what `after` stands for; see `client.session()`.
   * `'strong'`: everything that was acknowledged before the call.
   * @defaultValue `'any'`; `'bounded'` with `maxLagMs`, `'session'` with `after`
   */
  readonly consistency?: Consistency;
  /** With `'bounded'`: how old what is read may be, in milliseconds, compared with the log. */
  readonly maxLagMs?: number;
  /** With `'session'`: the `position` of a write, or of what was read before. */
  readonly after?: SessionToken;
  /**
   * As in `balance`, for this read.
   * @defaultValue that of `balance`
   */
  readonly prefer?: ReadNeeds['prefer'];
  /**
   * How long it may take, in milliseconds, all replicas that are asked included.
   * @defaultValue 10 000
   */
  readonly timeoutMs?: number;
  /** Ends the wait for an answer. */
  readonly signal?: AbortSignal;
  /**
   * Maximum rows of the result, at most 10 000. More are an error (BAD_SQL).
   * @defaultValue 10 000
   */
  readonly maxRows?: number;
  /**
   * How 64-bit integers come out. With `'number'`, one that a number does not hold exactly is
   * BAD_OPTION.
   * @defaultValue 'bigint'
   */
  readonly integers?: Integers;
}

/** What a write waits for, and which one it is. */
export interface ClientExecuteOptions {
  /**
   * Which databases it waits for; only in a synchronous cluster.
   * @defaultValue that of the cluster
   */
  readonly acks?: AckLevel;
  /**
   * As `requestId` of `replica.execute`: however often it is called under the same id within an
   * hour, it is written once.
   * @defaultValue a new one where the primary may change
   */
  readonly requestId?: string;
  /**
   * How long it may take, in milliseconds.
   * @defaultValue 10 000
   */
  readonly timeoutMs?: number;
  /** Ends the wait for an answer; what was asked for may still be written. */
  readonly signal?: AbortSignal;
}

/** Rows, and where they come from. */
export interface ReadResult<R> {
  readonly rows: readonly R[];
  /** A session token: a read that comes after it shows no less. */
  readonly position: SessionPosition;
  /** Who has answered. */
  readonly replica: string;
}

const ABOVE_0: OptionKind = {
  give: 'a number above 0',
  is: (value) => typeof value === 'number' && value > 0 && value < Infinity,
};
const READ_OPTIONS: OptionNames<ReadOptions> = {
  ...{ consistency: oneOf('any', 'bounded', 'session', 'strong'), maxLagMs: ABOVE_0, after: true },
  ...{ prefer: oneOf('replicas', 'any', 'primary'), timeoutMs: ABOVE_0, signal: true },
  ...{ maxRows: ABOVE_0, integers: true },
};
const EXECUTE_OPTIONS: OptionNames<ClientExecuteOptions> = {
  ...{ acks: true, requestId: true, timeoutMs: ABOVE_0, signal: true },
};
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_ROWS = 10_000;
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
}

type QueryRequest = Parameters<MailboxProtocol['query']>[0];
type Ask = Omit<QueryRequest, 'timeoutMs' | 'waitMs'>;

/** An application's connection to a cluster: writes go to the primary, reads to all replicas. */
export class Client implements AsyncDisposable {
  constructor(private readonly deps: ClientDeps) {}

  /** The name of the cluster. */
  get cluster(): string {
    return this.deps.cluster.cluster;
  }

  /**
   * Writes, as one transaction, where the primary is; in a cluster of several primaries, on one of
   * them. Where the primary may change, it is written once, also when it changes meanwhile.
   *
   * @throws AntiphonError what the replica answers: BAD_SQL, CONSTRAINT, CONFLICT, NOT_IN_SYNC and
   *   others; NO_ACTOR, LOG_UNAVAILABLE, TIMEOUT: nothing was written; UnknownOutcomeError: call again
   *   with `requestId: error.id`
   * @example
   * await client.execute([{ sql: 'UPDATE orders SET state = ? WHERE id = ?', params: ['paid', 7] }]);
   */
  async execute(
    statements: readonly Statement[],
    options: ClientExecuteOptions = {},
  ): Promise<WriteResult<readonly number[]>> {
    checkOptions(options, EXECUTE_OPTIONS, 'execute()');
    const { timeoutMs = DEFAULT_TIMEOUT_MS, ...others } = options;
    const choose = (): Promise<ChosenReplica> => this.#writer();
    const { cluster } = this.deps;
    const { result } = await executeInCluster(cluster, statements, { ...others, timeoutMs, choose });
    return result;
  }

  /**
   * Reads from a replica that serves such a read; another one is asked where that has gone. `R` is
   * what you say a row is; nothing checks it.
   *
   * @throws AntiphonError BAD_SQL, BAD_OPTION, SESSION_LOST; NO_ACTOR, TIMEOUT, OVERLOADED,
   *   LOG_UNAVAILABLE when nobody could serve it in time; ABORTED
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
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal, maxRows = MAX_ROWS, integers = 'bigint' } = options;
    assertIntegers(integers);
    const promise = promiseOf(options);
    const request: Ask = { sql, params, maxRows, ...promise };
    const { value, replica } = await this.deps.router.read({
      ask: (id, { timeoutMs: leftMs, signal: ended, isLast }) => {
        const wait =
          isLast || promise.consistency === 'strong' ? {} : { waitMs: Math.min(CATCH_UP_MS, leftMs) };
        const limits = { timeoutMs: leftMs + ANSWER_MARGIN_MS, signal: ended };
        return this.deps.cluster.replica(id).ask('query', { ...request, ...wait, timeoutMs: leftMs }, limits);
      },
      needs: this.#needs(options),
      ...{ timeoutMs, signal },
    });
    const rows: readonly unknown[] = rowObjects(value, integers);
    return { rows: rows as readonly R[], position: value.position, replica };
  }

  /** Who would be asked now, and why not the others. Asks nobody. Throws BAD_OPTION. */
  explain(options: ReadOptions = {}): ReadChoice {
    checkOptions(options, READ_OPTIONS, 'explain()');
    return this.deps.router.explain(this.#needs(options));
  }

  /**
   * Reads and writes that go together: a read shows what was written and read before in the same
   * session, on whichever replicas. `after`: where another session stood, as its `token` says.
   */
  session(after?: SessionToken): Session {
    return new Session(this, after === undefined ? undefined : parseSessionToken(after));
  }

  /**
   * Committed changes in the order of the log, from now on unless `from` says otherwise.
   *
   * @throws AntiphonError as `clusterChanges`
   */
  changes(
    options: Partial<ClusterChangesOptions> & { readonly signal: AbortSignal },
  ): AsyncGenerator<LoggedChange, void, undefined> {
    const { from = 'now', onProblem = () => undefined, ...others } = options;
    return clusterChanges(this.deps.cluster, { from, onProblem, ...others });
  }

  /** The status of every member, or why it does not answer. Throws LOG_UNAVAILABLE. */
  status(): Promise<readonly MemberAnswer[]> {
    return askMembers(this.deps.cluster);
  }

  /** Hangs up. Idempotent. */
  async close(): Promise<void> {
    this.deps.table[Symbol.dispose]();
    await this.deps.cluster.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
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
        : router.explain({ primaryOnly: false, prefer: 'any' }).replica;
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

function nobody(cluster: string): AntiphonError {
  const message = `No replica of cluster ${cluster} is heard that could take the write. See \`antiphon status\`.`;
  return new AntiphonError('NO_ACTOR', message, { retriable: true, context: { cluster } });
}
