import {
  type AckLevel,
  type Integers,
  oneOf,
  OPTION,
  type OptionKind,
  type OptionNames,
} from '@antiphon/core';
import type { Consistency, RowForm, SessionPosition, SessionToken } from '@antiphon/replica';
import type { ReadNeeds } from './balance/eligibility.js';

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
   * Whether the caller goes on from the `position` of the result, as a session does: where a
   * replica cannot tell it now, another one is asked, and where none can, it is an error (TIMEOUT).
   * @defaultValue false
   */
  readonly placed?: boolean;
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
  /**
   * How each row comes out: as an object by the names of its columns, of which the last of several
   * with one name is kept, or as an array in the order of the columns.
   * @defaultValue 'object'
   */
  readonly rows?: RowForm;
}

/** What a stream of rows promises, and its bounds. It has no limit of rows. */
export interface ClientStreamOptions extends Pick<
  ReadOptions,
  'consistency' | 'maxLagMs' | 'after' | 'prefer' | 'signal' | 'integers' | 'rows'
> {
  /**
   * How long the whole stream may take, in milliseconds, also while nobody asks for a row; TIMEOUT
   * after that. At most a day.
   * @defaultValue 300 000
   */
  readonly timeoutMs?: number;
  /**
   * How long nobody may take a row, in milliseconds; TIMEOUT after that, so that a stream that was
   * forgotten keeps no snapshot. At most ten minutes.
   * @defaultValue 30 000
   */
  readonly idleMs?: number;
}

/** What is read in a session: what it promises is fixed. */
export type SessionReadOptions = Omit<ReadOptions, 'consistency' | 'maxLagMs' | 'after' | 'placed'>;

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
  /**
   * A session token: a read that comes after it shows no less. Absent where the replica cannot tell
   * now, unless `placed` was asked for.
   */
  readonly position?: SessionPosition;
  /** Who has answered. */
  readonly replica: string;
}

const ABOVE_0: OptionKind = {
  give: 'a number above 0',
  is: (value) => typeof value === 'number' && value > 0 && value < Infinity,
};
export const READ_OPTIONS: OptionNames<ReadOptions> = {
  ...{ consistency: oneOf('any', 'bounded', 'session', 'strong'), maxLagMs: ABOVE_0, after: true },
  ...{ prefer: oneOf('replicas', 'any', 'primary'), timeoutMs: ABOVE_0, signal: true },
  ...{ maxRows: ABOVE_0, integers: true, rows: oneOf('object', 'array'), placed: OPTION.flag },
};
const { prefer, timeoutMs, signal, maxRows, integers, rows } = READ_OPTIONS;
export const SESSION_READ_OPTIONS: OptionNames<SessionReadOptions> = {
  ...{ prefer, timeoutMs, signal, maxRows, integers, rows },
};
const UP_TO_A_DAY: OptionKind = {
  give: 'a number above 0, at most 86400000 (a day)',
  is: (value) => typeof value === 'number' && value > 0 && value <= 24 * 3600 * 1000,
};
const UP_TO_TEN_MINUTES: OptionKind = {
  give: 'a number above 0, at most 600000 (ten minutes)',
  is: (value) => typeof value === 'number' && value > 0 && value <= 600_000,
};
const { consistency, maxLagMs, after } = READ_OPTIONS;
export const STREAM_OPTIONS: OptionNames<ClientStreamOptions> = {
  ...{ consistency, maxLagMs, after, prefer, signal, integers, rows },
  ...{ timeoutMs: UP_TO_A_DAY, idleMs: UP_TO_TEN_MINUTES },
};
export const EXECUTE_OPTIONS: OptionNames<ClientExecuteOptions> = {
  ...{ acks: true, requestId: true, timeoutMs: ABOVE_0, signal: true },
};
