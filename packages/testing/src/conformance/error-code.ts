import { AntiphonError } from '@antiphon/core';

/** For what was caught: its code, or what it is when it has none. */
export function codeOf(error: unknown): string {
  return error instanceof AntiphonError ? error.code : String(error);
}
