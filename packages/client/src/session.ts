import { AntiphonError, checkOptions, type RowObject } from '@antiphon/core';
import type { Params, SessionPosition, Statement, WriteResult } from '@antiphon/replica';
import {
  type ClientExecuteOptions,
  type ReadOptions,
  type ReadResult,
  SESSION_READ_OPTIONS,
  type SessionReadOptions,
} from './client-options.js';

/** What a session goes through. */
interface SessionClient {
  execute(
    statements: readonly Statement[],
    options: ClientExecuteOptions,
  ): Promise<WriteResult<readonly number[]>>;
  read<R>(sql: string, params: Params, options: ReadOptions): Promise<ReadResult<R>>;
}

/**
 * Reads and writes that go together, on whichever replicas: a read shows every write of the session
 * (read your writes), and no less than an earlier read of it has shown (monotonic reads). Calls at
 * the same time are not ordered among each other.
 */
export class Session {
  #token: SessionPosition | undefined;

  constructor(
    private readonly client: SessionClient,
    after?: SessionPosition,
  ) {
    this.#token = after;
  }

  /**
   * What this session has seen: plain data, from which another one goes on, also elsewhere
   * (`client.session(token)`). Undefined before the first call.
   */
  get token(): SessionPosition | undefined {
    return this.#token;
  }

  /**
   * As `client.execute`. Where the log was replaced since the session began, it goes on in the new
   * one.
   */
  async execute(
    statements: readonly Statement[],
    options: ClientExecuteOptions = {},
  ): Promise<WriteResult<readonly number[]>> {
    const written = await this.client.execute(statements, options);
    const { position } = written;
    // It is written, whatever the session has seen of a log that is no more.
    if (isOfOtherLog(this.#token, position)) this.#token = position;
    else this.#saw(position);
    return written;
  }

  /**
   * As `client.query`, after everything that this session has seen.
   *
   * @throws AntiphonError what `client.query` throws; SESSION_LOST when something of it counts for
   *   nobody any more: start a new session
   */
  async query<R = RowObject>(
    sql: string,
    params: Params = [],
    options: SessionReadOptions = {},
  ): Promise<readonly R[]> {
    checkOptions(options, SESSION_READ_OPTIONS, 'session.query()');
    const after = this.#token;
    const { rows, position } = await this.client.read<R>(sql, params, {
      ...options,
      placed: true,
      ...(after !== undefined && { after }),
    });
    if (position !== undefined) this.#saw(position);
    return rows;
  }

  #saw(position: SessionPosition): void {
    this.#token = this.#token === undefined ? position : later(this.#token, position);
  }
}

function isOfOtherLog(one: SessionPosition | undefined, other: SessionPosition): boolean {
  const known = one !== undefined && one.generation !== '' && other.generation !== '';
  return known && one.generation !== other.generation;
}

/** What shows both. Throws LOG_REPLACED when they are places in two logs. */
function later(one: SessionPosition, other: SessionPosition): SessionPosition {
  const generation = one.generation === '' ? other.generation : one.generation;
  if (isOfOtherLog(one, other)) {
    const message = 'The log of the cluster was replaced since this session began. Start a new session.';
    throw new AntiphonError('LOG_REPLACED', message);
  }
  const vector = { ...one.vector };
  for (const [origin, counter] of Object.entries(other.vector ?? {}))
    vector[origin] = Math.max(counter, vector[origin] ?? 0);
  const isEmpty = Object.keys(vector).length === 0;
  return { generation, seq: Math.max(one.seq, other.seq), ...(!isEmpty && { vector }) };
}
