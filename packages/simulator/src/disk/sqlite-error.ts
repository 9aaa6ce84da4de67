import { RESULT } from '@antiphon/sqlite/internal';

/** As the driver throws what SQLite says. */
function sqliteError(errcode: number, message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode, errstr: message });
}

export function busyError(): Error {
  return sqliteError(RESULT.BUSY, 'database is locked');
}

export function fullError(): Error {
  return sqliteError(RESULT.FULL, 'database or disk is full');
}
