import { ERROR_CODES, type ErrorCode } from './codes.js';
import { redact, redactValue } from './redact.js';

/** What an operator needs to find the place; all optional. */
export interface ErrorContext {
  readonly cluster?: string;
  readonly replica?: string;
  readonly origin?: string;
  readonly table?: string;
  readonly position?: string;
  readonly [field: string]: unknown;
}

export interface AntiphonErrorOptions {
  readonly cause?: unknown;
  /** Overrides the code's default: may the same call succeed later, unchanged? */
  readonly retriable?: boolean;
  readonly context?: ErrorContext;
}

/**
 * The one error class of Antiphon. Match on `code`; the message says what happened and what to do
 * next. Secrets in addresses (`nats://user:password@host`) are taken out of message, context and
 * cause, wherever they came from.
 */
export class AntiphonError extends Error {
  readonly code: ErrorCode;
  readonly retriable: boolean;
  readonly context: ErrorContext;

  constructor(code: ErrorCode, message: string, options: AntiphonErrorOptions = {}) {
    super(redact(message), options.cause === undefined ? undefined : { cause: redactValue(options.cause) });
    this.name = 'AntiphonError';
    this.code = code;
    this.retriable = options.retriable ?? ERROR_CODES[code].retriable;
    this.context = redactValue(options.context ?? {}) as ErrorContext;
  }
}

/**
 * Anything thrown, as an AntiphonError: itself when it is one, else wrapped with the given code.
 */
export function toAntiphonError(thrown: unknown, code: ErrorCode = 'INTERNAL'): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AntiphonError(code, message, { cause: thrown });
}

/**
 * What an AbortSignal ended: its reason when that says it in our terms (a deadline), else ABORTED
 * with the reason as `cause`.
 */
export function abortError(signal: AbortSignal | undefined, message: string): AntiphonError {
  const reason: unknown = signal?.reason;
  return reason instanceof AntiphonError ? reason : new AntiphonError('ABORTED', message, { cause: reason });
}

/**
 * What a caller is told whose own `signal` ended its call: the very reason that it gave to
 * `abort(reason)`. The platform's own reasons (`abort()` without one, `AbortSignal.timeout`) say
 * less than the ABORTED that has them as its `cause`.
 */
export function abortReason(error: unknown, signal: AbortSignal | undefined): unknown {
  const isAborted = error instanceof AntiphonError && error.code === 'ABORTED' && signal?.aborted === true;
  if (!isAborted) return error;
  const reason: unknown = signal.reason;
  return isOfPlatform(reason) ? error : reason;
}

/** The same, of what was asked for with these options, which may not have been checked yet. */
export function withAbortReason<T>(
  work: Promise<T>,
  options: { readonly signal?: AbortSignal | undefined } | null | undefined,
): Promise<T> {
  const signal = options?.signal;
  if (signal === undefined) return work;
  return work.catch((error: unknown) => {
    throw abortReason(error, signal);
  });
}

function isOfPlatform(reason: unknown): boolean {
  return reason instanceof DOMException && (reason.name === 'AbortError' || reason.name === 'TimeoutError');
}
