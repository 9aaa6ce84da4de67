import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { AntiphonError } from '@antiphon/core';
import { RESULT, resultCode } from './driver/result-codes.js';
import { storeError } from './errors.js';

/**
 * Why `file` could not be opened. What is wrong when it is opened stays so: whoever named it is
 * told at once.
 */
export function openError(thrown: unknown, file: string): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const what = `Cannot open ${file}`;
  const error = storeError(thrown, what);
  const { context } = error;
  if (resultCode(thrown) === RESULT.NOTADB)
    return new AntiphonError(
      'STORE_FAILED',
      `${what}: it is not a SQLite database, or an encrypted one, which cannot be used. Name another file.`,
      { cause: thrown, context },
    );
  if (error.code !== 'INTERNAL' && error.code !== 'STORE_UNAVAILABLE') return error;
  const mistake = mistakeOf(file);
  return mistake === undefined
    ? new AntiphonError('STORE_FAILED', error.message, { cause: thrown, context })
    : new AntiphonError('BAD_OPTION', `${what}: ${mistake}`, {
        cause: thrown,
        context: { ...context, file },
      });
}

/**
 * SQLite says "unable to open database file" of everything; the path shows more. Undefined when it
 * does not.
 */
function mistakeOf(file: string): string | undefined {
  const folder = dirname(file);
  const found = statOf(file);
  if (typeof found === 'object') {
    if (found.isDirectory()) return 'it is a folder. Name a file.';
    if (!found.isFile()) return 'it is not an ordinary file. Name another one.';
    if (!isAccessible(file)) return 'this user may not read and write it. Correct its owner and mode.';
  } else if (found === 'ENOENT') {
    const parent = statOf(folder);
    if (parent === 'ENOENT') return `the folder ${folder} does not exist. Create it, or correct the path.`;
  } else if (found === 'ENOTDIR') return 'a part of its path is a file, not a folder. Correct the path.';
  else if (found === 'EACCES') return `this user may not look into ${folder}. Correct its owner and mode.`;
  // SQLite keeps files beside the database.
  return isAccessible(folder)
    ? undefined
    : `this user may not write into the folder ${folder}. Correct its owner and mode.`;
}

function statOf(path: string): ReturnType<typeof statSync> | string {
  try {
    return statSync(path);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown error';
  }
}

function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
