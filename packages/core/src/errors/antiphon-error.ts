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
 * The one error class of Antiphon. Match on `code`; the message says what happened and what to do next.
 * Secrets in addresses (`nats://user:password@host`) are taken out of message, context and cause, wherever
 * they came from.
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

/** Anything thrown, as an AntiphonError: itself when it is one, else wrapped with the given code. */
export function toAntiphonError(thrown: unknown, code: ErrorCode = 'INTERNAL'): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AntiphonError(code, message, { cause: thrown });
}

/**
 * What an AbortSignal ended: its reason when that says it in our terms (a deadline), else ABORTED with the
 * reason as `cause`.
 */
export function abortError(signal: AbortSignal | undefined, message: string): AntiphonError {
  const reason: unknown = signal?.reason;
  return reason instanceof AntiphonError ? reason : new AntiphonError('ABORTED', message, { cause: reason });
}
