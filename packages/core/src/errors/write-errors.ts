import type { TransactionId } from '../model/transaction-id.js';
import { AntiphonError, type AntiphonErrorOptions } from './antiphon-error.js';

/** What a ConflictError is about. */
export interface ConflictDetails {
  /** The table of the row. */
  readonly table?: string;
  /** The primary key, or the unique value, that both wrote or locked. */
  readonly key?: readonly unknown[];
  /**
   * The transaction that was committed first; absent when certification could not look back so far.
   */
  readonly winner?: TransactionId;
}

/**
 * Certification rejected a write as often as it was tried. Nothing of it is anywhere; the same call
 * may succeed later.
 */
export class ConflictError extends AntiphonError {
  readonly outcome = 'rejected';

  constructor(
    message: string,
    readonly details: ConflictDetails,
    options: AntiphonErrorOptions = {},
  ) {
    super('CONFLICT', message, { ...options, context: { ...options.context, ...details } });
    this.name = 'ConflictError';
  }
}

/**
 * The log holds the write, or it does not: nobody could tell in time. `replica.outcome(id)` tells
 * later.
 */
export class UnknownOutcomeError extends AntiphonError {
  readonly outcome = 'unknown';

  constructor(
    message: string,
    /** As `replica.outcome` and `antiphon outcome` take it. */
    readonly id: string,
    options: AntiphonErrorOptions = {},
  ) {
    super('OUTCOME_UNKNOWN', message, { ...options, context: { ...options.context, id } });
    this.name = 'UnknownOutcomeError';
  }
}
