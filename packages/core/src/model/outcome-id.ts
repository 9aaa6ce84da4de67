import { AntiphonError } from '../errors/antiphon-error.js';
import { isIdentifier } from './identifier.js';
import type { TransactionId } from './transaction-id.js';

/**
 * By which the outcome of a write can be asked for: its transaction and, when known, the attempt at
 * publishing it.
 */
export interface OutcomeId extends TransactionId {
  /**
   * A counter may be used again by another attempt when the log never got the first one; a token
   * never is.
   */
  readonly token?: string;
}

const TOKEN = /^[A-Za-z0-9]{1,40}$/;
const OUTCOME_ID = /^([^:~]+):([1-9][0-9]{0,15})(?:~(.*))?$/s;

/** Whether it names an attempt at publishing a synchronous group. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** `eu-1:42`, or with a token `eu-1:42~x7Kq`. */
export function formatOutcomeId({ origin, counter }: TransactionId, token?: string): string {
  return token === undefined ? `${origin}:${counter}` : `${origin}:${counter}~${token}`;
}

/** Throws BAD_OPTION. */
export function parseOutcomeId(text: string): OutcomeId {
  const [, origin = '', digits = '', token] = OUTCOME_ID.exec(text) ?? [];
  const counter = Number(digits);
  const valid = isIdentifier(origin) && counter >= 1 && Number.isSafeInteger(counter);
  if (!valid || (token !== undefined && !isToken(token))) {
    throw new AntiphonError(
      'BAD_OPTION',
      `${JSON.stringify(String(text).slice(0, 120))} is not the id of a write. Give it as the error or the result showed it, ` +
        'like eu-1:42 or eu-1:42~x7Kq.',
    );
  }
  return token === undefined ? { origin, counter } : { origin, counter, token };
}
