import {
  exposeActor,
  type ActorRef,
  type Behaviour,
  type Exposure,
  type NoReply,
  type Received,
  type RemoteCommands,
} from '@antiphon/actor';
import type { ChecksumReport, QueryResult, RowDigest, Value, VectorClock } from '@antiphon/core';
import { isRecord } from './cluster-document.js';
import type { ReplicaProtocol } from './protocols.js';
import type { Scope } from './scope.js';
import { bad, parseParams, parseStatements, type Params, type Statement } from './statement.js';
import { statusOf, type ReplicaStatus } from './status.js';
import { mailboxPrefix } from './subjects.js';
import type { Committed, Writer } from './writer.js';

export interface Ping {
  readonly id: string;
  readonly instance: string;
  readonly startedAtMs: number;
  readonly lifecycle: string;
}

export interface Standing {
  readonly seq: number;
  readonly generation: string;
  readonly vector: VectorClock;
  readonly lastCounter: number;
  readonly publishedCounter: number;
}

/** What anybody may ask of a replica, on `antiphon.<cluster>.replica.<id>.<command>`. */
export interface MailboxProtocol {
  ping(): Ping;
  status(): ReplicaStatus;
  /** Where it stands, cheaply. */
  standing(): Standing;
  execute(request: {
    readonly statements: readonly Statement[];
    readonly timeoutMs?: number;
  }): Committed<readonly number[]>;
  query(request: { readonly sql: string; readonly params: Params; readonly maxRows: number }): QueryResult;
  checksum(request: { readonly tables?: readonly string[] }): ChecksumReport;
  rowDigests(request: {
    readonly table: string;
    readonly afterKey?: readonly Value[];
    readonly limit: number;
  }): readonly RowDigest[];
  /** Library writes wait for so long; what was written before is sealed and in the log when the answer comes. */
  hold(request: { readonly holdMs: number }): Standing;
  release(): void;
}

const MAX_QUERY_ROWS = 10_000;
const MAX_DIGESTS = 5000;
const MAX_HOLD_MS = 60_000;
const MAX_EXECUTE_MS = 300_000;
/** Checksums of large tables take long; the asker has a limit of its own. */
const ANSWER_TIMEOUT_MS = 600_000;

/** Answers others. It waits for nobody: questions that take long are answered later, beside each other. */
export class MailboxActor implements Behaviour<MailboxProtocol> {
  readonly receive = {
    ping: (): Ping => {
      const { id, instance, startedAtMs, condition } = this.scope;
      return { id, instance, startedAtMs, lifecycle: condition.state };
    },
    status: (): ReplicaStatus => statusOf(this.scope),
    standing: (): Standing => this.#standing(),
    execute: (
      request: { statements: readonly Statement[]; timeoutMs?: number },
      _: unknown,
      message: Later<'execute'>,
    ): NoReply => later(message, this.writer.execute(request.statements, request)),
    query: (
      { sql, params, maxRows }: { sql: string; params: Params; maxRows: number },
      _: unknown,
      message: Later<'query'>,
    ): NoReply => later(message, this.scope.store.query(sql, params, { maxRows })),
    checksum: ({ tables }: { tables?: readonly string[] }, _: unknown, message: Later<'checksum'>): NoReply =>
      later(message, this.scope.store.checksum(tables)),
    rowDigests: (
      request: { table: string; afterKey?: readonly Value[]; limit: number },
      _: unknown,
      message: Later<'rowDigests'>,
    ): NoReply => later(message, this.scope.store.rowDigests(request.table, request.afterKey, request.limit)),
    hold: ({ holdMs }: { holdMs: number }, _: unknown, message: Later<'hold'>): NoReply =>
      later(message, this.#hold(holdMs)),
    release: (): void => void this.replica.tell('release'),
  };

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly writer: Writer<unknown>,
  ) {}

  async #hold(holdMs: number): Promise<Standing> {
    await this.replica.ask('hold', holdMs);
    await this.replica.ask('seal');
    const { progress } = this.scope;
    await progress.until(() => progress.unpublished === 0, {
      timeoutMs: holdMs,
      what: 'everything was published',
    });
    return this.#standing();
  }

  #standing(): Standing {
    const { store, progress } = this.scope;
    const { position, vector, lastCounter, publishedCounter } = store.state();
    return {
      seq: Math.max(progress.seq, position.seq),
      generation: position.generation,
      vector,
      lastCounter,
      publishedCounter,
    };
  }
}

type Later<K extends keyof MailboxProtocol & string> = Received<MailboxProtocol, K>;

function later<K extends keyof MailboxProtocol & string>(
  message: Later<K>,
  answer: Promise<Awaited<ReturnType<MailboxProtocol[K]>>>,
): NoReply {
  answer.then(
    (value) => message.reply(value as never),
    (error: unknown) => message.reject(error instanceof Error ? error : new Error(String(error))),
  );
  return message.defer();
}

export function exposeMailbox(scope: Scope, mailbox: ActorRef<MailboxProtocol>): Exposure {
  return exposeActor(mailbox, scope.bus, mailboxPrefix(scope.cluster, scope.id), COMMANDS, {
    timeoutMs: ANSWER_TIMEOUT_MS,
  });
}

const COMMANDS: RemoteCommands<MailboxProtocol> = {
  ping: () => undefined,
  status: () => undefined,
  standing: () => undefined,
  release: () => undefined,
  execute: (input) => {
    const request = record(input);
    const timeoutMs = request['timeoutMs'];
    return {
      statements: parseStatements(request['statements']),
      ...(timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) }),
    };
  },
  query: (input) => {
    const request = record(input);
    if (typeof request['sql'] !== 'string') throw bad('sql', 'a statement');
    const maxRows = whole('maxRows', request['maxRows'] ?? MAX_QUERY_ROWS, MAX_QUERY_ROWS);
    return { sql: request['sql'], params: parseParams(request['params']), maxRows };
  },
  checksum: (input) => {
    const tables = record(input ?? {})['tables'];
    if (tables === undefined) return {};
    if (!Array.isArray(tables) || !tables.every((table): table is string => typeof table === 'string')) {
      throw bad('tables', 'a list of table names');
    }
    return { tables };
  },
  rowDigests: (input) => {
    const request = record(input);
    const { table, afterKey } = request;
    if (typeof table !== 'string') throw bad('table', 'a table name');
    const limit = whole('limit', request['limit'], MAX_DIGESTS);
    if (afterKey === undefined || afterKey === null) return { table, limit };
    const key = parseParams(afterKey);
    if (!Array.isArray(key)) throw bad('afterKey', 'a list of key values');
    return { table, limit, afterKey: key as readonly Value[] };
  },
  hold: (input) => ({ holdMs: whole('holdMs', record(input)['holdMs'], MAX_HOLD_MS) }),
};

function record(input: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(input)) return input;
  throw bad('the request', 'a map');
}

function whole(name: string, input: unknown, max: number): number {
  const number = typeof input === 'bigint' ? Number(input) : input;
  if (typeof number === 'number' && Number.isInteger(number) && number > 0 && number <= max) return number;
  throw bad(name, `a whole number from 1 to ${max}`);
}
