import { AntiphonError } from '../src/index.js';

/** The code of the AntiphonError that `run` throws; anything else is spelled out. */
export function codeThrownBy(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof AntiphonError ? error.code : `not an AntiphonError: ${String(error)}`;
  }
  return 'nothing was thrown';
}
