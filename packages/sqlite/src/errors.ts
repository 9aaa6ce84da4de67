import { AntiphonError, type ErrorCode, type ErrorContext, sentence } from '@antiphon/core';
import { EXTENDED, primaryCode, RESULT, resultCode, resultName } from './driver/result-codes.js';

/** How much of a statement an error message shows. */
const MAX_STATEMENT_CHARACTERS = 300;

/** The message of the triggers that refuse writes on a replica starts with this. */
export const REFUSAL_PREFIX = 'antiphon: this database is a replica';

const REFUSALS = new Set<number>([
  RESULT.ERROR,
  RESULT.TOOBIG,
  RESULT.CONSTRAINT,
  RESULT.MISMATCH,
  RESULT.RANGE,
]);
/** The machine's troubles, which may pass. */
const TROUBLES = new Set<number>([
  RESULT.PERM,
  RESULT.NOMEM,
  RESULT.READONLY,
  RESULT.IOERR,
  RESULT.CANTOPEN,
  RESULT.PROTOCOL,
]);
/** Trying again does not mend the file. */
const DAMAGES = new Set<number>([RESULT.CORRUPT, RESULT.NOTADB]);
const FAILURES = new Set<number>([RESULT.NOLFS, RESULT.AUTH, RESULT.FORMAT]);

/** Of a store that takes the writes of others only. */
export function notWritable(primary: string | undefined): AntiphonError {
  const where = primary === undefined ? 'Write to the primary.' : `Write to the primary ${primary}.`;
  return new AntiphonError(
    'NOT_WRITABLE',
    `This database is a replica. ${where}`,
    primary === undefined ? {} : { context: { primary } },
  );
}

/** A store is opened once: it belongs to one replica, and ends with it. */
export function storeClosed(): AntiphonError {
  return new AntiphonError(
    'CLOSED',
    'The store is closed. It is opened once, also where the start fails: make another one, with sqlite({ file }).',
  );
}

export function isBusy(thrown: unknown): boolean {
  const code = primaryCodeOf(thrown);
  return code === RESULT.BUSY || code === RESULT.LOCKED;
}

export function isFull(thrown: unknown): boolean {
  if (thrown instanceof AntiphonError) return thrown.code === 'STORE_FULL';
  const code = resultCode(thrown);
  return code !== undefined && storeCode(code) === 'STORE_FULL';
}

export function isUniqueViolation(thrown: unknown): boolean {
  const code = resultCode(thrown);
  return (
    code === EXTENDED.CONSTRAINT_UNIQUE ||
    code === EXTENDED.CONSTRAINT_PRIMARYKEY ||
    code === EXTENDED.CONSTRAINT_ROWID
  );
}

export function isNullViolation(thrown: unknown): boolean {
  return resultCode(thrown) === EXTENDED.CONSTRAINT_NOTNULL;
}

/** The authorizer refused what the statement does. */
export function isDenied(thrown: unknown): boolean {
  return primaryCodeOf(thrown) === RESULT.AUTH;
}

/** A parameter cannot be bound, says our driver or `node:sqlite`; nothing has run then. */
export function isBindFailure(thrown: unknown): boolean {
  if (!(thrown instanceof TypeError)) return false;
  return thrown.name === 'BindError' || /cannot be bound/.test(thrown.message);
}

/** Drivers differ in the class of such an error. */
function isInvalidArgument(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown as { code?: unknown }).code === 'ERR_INVALID_ARG_VALUE';
}

function primaryCodeOf(thrown: unknown): number | undefined {
  const code = resultCode(thrown);
  return code === undefined ? undefined : primaryCode(code);
}

/**
 * True when the database refused the statement or its values (constraint, type, size): the same
 * statement will be refused again. False for the machine's troubles (busy, full, I/O, corrupt),
 * which say nothing about the data.
 */
export function isRefusal(thrown: unknown): boolean {
  if (thrown instanceof AntiphonError) {
    return [
      'CONSTRAINT',
      'APPLY_REFUSED',
      'UNKNOWN_TABLE',
      'MALFORMED_MESSAGE',
      'UNSUPPORTED_FORMAT',
      'MESSAGE_TOO_LARGE',
    ].includes(thrown.code);
  }
  const code = resultCode(thrown);
  if (code !== undefined) return REFUSALS.has(primaryCode(code));
  return thrown instanceof TypeError || thrown instanceof RangeError || isInvalidArgument(thrown);
}

function storeCode(code: number): ErrorCode | undefined {
  const primary = primaryCode(code);
  if (primary === RESULT.BUSY || primary === RESULT.LOCKED) return 'STORE_BUSY';
  // The shared-memory file cannot grow: what a full disk looks like to a WAL database.
  if (primary === RESULT.FULL || code === EXTENDED.IOERR_SHMSIZE) return 'STORE_FULL';
  if (TROUBLES.has(primary)) return 'STORE_UNAVAILABLE';
  if (DAMAGES.has(primary)) return 'STORE_CORRUPT';
  return FAILURES.has(primary) ? 'STORE_FAILED' : undefined;
}

export function shortened(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim();
  return line.length > MAX_STATEMENT_CHARACTERS ? `${line.slice(0, MAX_STATEMENT_CHARACTERS)}…` : line;
}

/** Anything thrown by the database while the store did `what`, as an AntiphonError. */
export function storeError(thrown: unknown, what: string, context: ErrorContext = {}): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const code = resultCode(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const mapped = code === undefined ? undefined : storeCode(code);
  return new AntiphonError(
    mapped ?? (code === undefined ? 'INTERNAL' : 'STORE_FAILED'),
    `${what}: ${sentence(message)}`,
    {
      cause: thrown,
      context: { ...context, ...(code === undefined ? {} : { sqlite: resultName(code) }) },
    },
  );
}

/** An error of a user's own statement. */
export function statementError(thrown: unknown, sql: string): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = resultCode(thrown);
  const options = {
    cause: thrown,
    context: { statement: shortened(sql), ...(code === undefined ? {} : { sqlite: resultName(code) }) },
  };
  if (message.startsWith(REFUSAL_PREFIX)) return new AntiphonError('NOT_WRITABLE', message, options);
  const mapped = code === undefined ? undefined : storeCode(code);
  const text = `${sentence(message)} Statement: ${shortened(sql)}`;
  if (mapped !== undefined) return new AntiphonError(mapped, text, options);
  return new AntiphonError(
    code !== undefined && primaryCode(code) === RESULT.CONSTRAINT ? 'CONSTRAINT' : 'BAD_SQL',
    text,
    options,
  );
}
