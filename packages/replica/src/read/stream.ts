import {
  abortError,
  abortReason,
  AntiphonError,
  assertIntegers,
  checkOptions,
  endable,
  oneOf,
  type OptionKind,
  type OptionNames,
  type Row,
  type RowStream,
  type Timer,
  withAbortReason,
} from '@antiphon/core';
import type { Span } from '@opentelemetry/api';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { calledSpan } from '../tracing/spans.js';
import { begin, failed } from '../tracing/tracer.js';
import { Deadline } from '../wait/deadline.js';
import type { Params } from '../write/statement.js';
import {
  assertReadable,
  type QueryOptions,
  rethrowBehind,
  shownSql,
  standingOf,
  standsAsIn,
  waitFor,
} from './read.js';
import { shapedRows } from './row-objects.js';

/** What a stream of rows promises, and its bounds. It has no limit of rows. */
export interface StreamOptions extends Pick<
  QueryOptions,
  'signal' | 'consistency' | 'after' | 'maxLagMs' | 'waitMs' | 'integers' | 'rows'
> {
  /**
   * How long the whole stream may take, in milliseconds, also while nobody asks for a row: it keeps
   * a snapshot, and the database's log grows meanwhile. TIMEOUT after that.
   * @defaultValue 300 000
   */
  readonly timeoutMs?: number;
  /**
   * How long nobody may ask for the next row, in milliseconds; TIMEOUT after that, so that a stream
   * that was forgotten keeps no snapshot.
   * @defaultValue 30 000
   */
  readonly idleMs?: number;
}

const ABOVE_0: OptionKind = {
  give: 'a number above 0',
  is: (value) => typeof value === 'number' && value > 0,
};
const STREAM_OPTIONS: OptionNames<StreamOptions> = {
  ...{ signal: true, consistency: true, after: true, maxLagMs: true, integers: true },
  rows: oneOf('object', 'array'),
  ...{ timeoutMs: ABOVE_0, waitMs: ABOVE_0, idleMs: ABOVE_0 },
};
const DEFAULT_STREAM_MS = 300_000;
const DEFAULT_IDLE_MS = 30_000;
/** A timer cannot wait longer. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * A stream whose time runs: its rows, piece by piece, until it is closed. What its reader does not
 * take in time is not kept for it.
 */
export class OpenStream {
  readonly #idle = new AbortController();
  readonly #deadline: Deadline;
  readonly #idleMs: number;
  #watch: Timer | undefined;
  /** When the reader got what it has; undefined while it waits. */
  #takenMs: number | undefined;
  #rows: RowStream | undefined;
  #isClosed = false;
  #onClosed: () => void = () => undefined;

  private constructor(
    private readonly scope: ReplicaScope,
    private readonly sql: string,
    { timeoutMs = DEFAULT_STREAM_MS, idleMs = DEFAULT_IDLE_MS, signal }: StreamOptions,
    private readonly span: Span | undefined,
  ) {
    const { clock, closing } = scope;
    this.#idleMs = Math.min(idleMs, LONGEST_MS);
    const limitMs = Math.min(timeoutMs, LONGEST_MS);
    const ends = [signal, closing, this.#idle.signal];
    this.#deadline = new Deadline(clock, limitMs, ends, () => this.#late(limitMs));
    // Also where nobody comes back to be told.
    const ended = this.#deadline.signal;
    const why = (): AntiphonError => abortError(ended, 'The stream was ended by its signal.');
    ended.addEventListener('abort', () => this.#fail(why()), { once: true });
  }

  /**
   * `opened` is called with the snapshot at hand, and again where that does not count. Throws
   * BAD_SQL, BAD_OPTION, TIMEOUT, ABORTED, LOG_UNAVAILABLE, OVERLOADED, CLOSED.
   */
  static async open(
    scope: ReplicaScope,
    sql: string,
    params: Params,
    options: StreamOptions,
    opened: () => Promise<void> = () => Promise.resolve(),
  ): Promise<OpenStream> {
    assertStream(sql, params, options);
    const span = begin(() => calledSpan(scope, 'stream', [{ sql }]))?.span;
    const stream = new OpenStream(scope, sql, options, span);
    try {
      await stream.#open(params, options, opened);
      return stream;
    } catch (error) {
      stream.#fail(error);
      throw error;
    }
  }

  async #open(
    params: Params,
    { timeoutMs: _, idleMs: __, ...options }: StreamOptions,
    opened: () => Promise<void>,
  ): Promise<void> {
    const { scope, sql } = this;
    const { signal } = this.#deadline;
    for (;;) {
      const standing = standingOf(scope);
      await waitFor(scope, { ...options, signal }).catch(rethrowBehind);
      this.#rows = await scope.store.stream(sql, params, { maxRowBytes: scope.limits.queryBytes, signal });
      await opened();
      // As for a query: a takeover in between may have undone what was waited for, or is shown.
      if (standsAsIn(standing, scope)) break;
      this.#rows.close();
    }
    this.touch();
    this.#mindIdle(this.#idleMs);
  }

  get columns(): readonly string[] {
    return this.#rows?.columns ?? [];
  }

  /** The next rows, at least one; undefined: there are no more. Throws as `open` does. */
  async next(): Promise<readonly Row[] | undefined> {
    this.#takenMs = undefined;
    try {
      const rows = await this.#rows?.next();
      this.touch();
      if (rows === undefined) this.close();
      return rows;
    } catch (thrown) {
      // Why it was closed says more than that it was.
      const { signal } = this.#deadline;
      const error = signal.aborted ? abortError(signal, 'The stream was ended by its signal.') : thrown;
      this.#fail(error);
      throw error;
    }
  }

  /** The reader has asked for something. Throws when the time was up before. */
  touch(): void {
    const { signal } = this.#deadline;
    if (signal.aborted) throw abortError(signal, 'The stream was ended by its signal.');
    this.#takenMs = this.scope.clock.monotonicMs();
  }

  /** Called once, when it is over for whatever reason. */
  onClosed(listener: () => void): void {
    if (this.#isClosed) return listener();
    this.#onClosed = listener;
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch?.cancel();
    this.#deadline.end();
    this.#rows?.close();
    this.span?.end();
    this.#onClosed();
  }

  #fail(error: unknown): void {
    if (this.span !== undefined && !this.#isClosed) failed(this.span, error);
    this.close();
  }

  #mindIdle(waitMs: number): void {
    const { clock } = this.scope;
    this.#watch = clock.setTimer(waitMs, () => {
      const idleMs = this.#takenMs === undefined ? 0 : clock.monotonicMs() - this.#takenMs;
      if (idleMs < this.#idleMs) return this.#mindIdle(this.#idleMs - idleMs);
      // Whoever comes back is told why; the database is free by then.
      this.#idle.abort(this.#forgotten());
    });
  }

  #late(limitMs: number): AntiphonError {
    return new AntiphonError(
      'TIMEOUT',
      `The stream took longer than ${limitMs} ms and was ended: ${shownSql(this.sql)}. ` +
        'Take its rows faster, read them in pieces by their key, or raise `timeoutMs`.',
    );
  }

  #forgotten(): AntiphonError {
    return new AntiphonError(
      'TIMEOUT',
      `Nobody asked for the next row of the stream within ${this.#idleMs} ms, and it was ended: ` +
        `${shownSql(this.sql)}. Take its rows faster, or raise \`idleMs\`.`,
    );
  }
}

/** Throws BAD_OPTION. */
function assertStream(sql: unknown, params: unknown, options: StreamOptions): void {
  checkOptions(options, STREAM_OPTIONS, 'stream()');
  assertReadable(sql, params);
  assertIntegers(options.integers ?? 'bigint');
}

/** Row by row. Throws BAD_OPTION at once; nothing is opened before the first `next()`. */
export function streamOf(
  scope: ReplicaScope,
  sql: string,
  params: Params,
  options: StreamOptions,
): AsyncGenerator<unknown, void, undefined> {
  assertStream(sql, params, options);
  return endable((ending) => rowsOf(scope, sql, params, options, ending));
}

async function* rowsOf(
  scope: ReplicaScope,
  sql: string,
  params: Params,
  options: StreamOptions,
  ending: AbortSignal,
): AsyncGenerator<unknown, void, undefined> {
  const { signal: given } = options;
  const signal = given === undefined ? ending : AbortSignal.any([given, ending]);
  const stream = await withAbortReason(OpenStream.open(scope, sql, params, { ...options, signal }), options);
  const { columns } = stream;
  try {
    for (;;) {
      const rows = await withAbortReason(stream.next(), options);
      if (rows === undefined) return;
      for (const row of rows) {
        yield* shapedRows({ columns, rows: [row] }, options);
        stream.touch();
      }
    }
  } catch (error) {
    throw abortReason(error, given);
  } finally {
    stream.close();
  }
}
