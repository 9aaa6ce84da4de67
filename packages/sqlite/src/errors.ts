import { AntiphonError, type ErrorCode, type ErrorContext } from '@antiphon/core';

/** How much of a statement an error message shows. */
const MAX_STATEMENT_CHARACTERS = 300;

/** The message of the triggers that refuse writes on a replica starts with this. */
export const REFUSAL_PREFIX = 'antiphon: this database is a replica';

/** The extended result code (`SQLITE_…`) when SQLite itself threw. */
export function sqliteCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || thrown.name !== 'SqliteError') return undefined;
  const { code } = thrown as Error & { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

export function isBusy(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  return code !== undefined && (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED'));
}

export function isUniqueViolation(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  return (
    code === 'SQLITE_CONSTRAINT_UNIQUE' ||
    code === 'SQLITE_CONSTRAINT_PRIMARYKEY' ||
    code === 'SQLITE_CONSTRAINT_ROWID'
  );
}

/** better-sqlite3 refuses a parameter that it cannot bind with a TypeError, before the statement runs. */
export function isBindFailure(thrown: unknown): boolean {
  return thrown instanceof TypeError && /can only bind/.test(thrown.message);
}

/**
 * True when the database refused the statement or its values (constraint, type, size): the same statement will be
 * refused again. False for the machine's troubles (busy, full, I/O, corrupt), which say nothing about the data.
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
  const code = sqliteCode(thrown);
  if (code !== undefined) return /^SQLITE_(CONSTRAINT|MISMATCH|TOOBIG|RANGE|ERROR|READONLY_)/.test(code);
  return thrown instanceof TypeError || thrown instanceof RangeError;
}

function storeCode(code: string): ErrorCode | undefined {
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) return 'STORE_BUSY';
  // The shared-memory file cannot grow: what a full disk looks like to a WAL database.
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE') return 'STORE_FULL';
  if (/^SQLITE_(IOERR|CORRUPT|NOTADB|CANTOPEN|READONLY|NOMEM|PROTOCOL|PERM|AUTH|NOLFS|FORMAT)/.test(code))
    return 'STORE_FAILED';
  return undefined;
}

export function shortened(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim();
  return line.length > MAX_STATEMENT_CHARACTERS ? `${line.slice(0, MAX_STATEMENT_CHARACTERS)}…` : line;
}

/** Anything thrown by the database while the store did `what`, as an AntiphonError. */
export function storeError(thrown: unknown, what: string, context: ErrorContext = {}): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const code = sqliteCode(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const mapped = code === undefined ? undefined : storeCode(code);
  return new AntiphonError(
    mapped ?? (code === undefined ? 'INTERNAL' : 'STORE_FAILED'),
    `${what}: ${message}`,
    {
      cause: thrown,
      context: { ...context, ...(code === undefined ? {} : { sqlite: code }) },
    },
  );
}

/** An error of a user's own statement. */
export function statementError(thrown: unknown, sql: string): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = sqliteCode(thrown);
  const options = {
    cause: thrown,
    context: { statement: shortened(sql), ...(code === undefined ? {} : { sqlite: code }) },
  };
  if (message.startsWith(REFUSAL_PREFIX)) return new AntiphonError('NOT_WRITABLE', message, options);
  const mapped = code === undefined ? undefined : storeCode(code);
  const text = `${message} in: ${shortened(sql)}`;
  if (mapped !== undefined) return new AntiphonError(mapped, text, options);
  return new AntiphonError(
    code?.startsWith('SQLITE_CONSTRAINT') === true ? 'CONSTRAINT' : 'BAD_SQL',
    text,
    options,
  );
}
