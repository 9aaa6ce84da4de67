import { AntiphonError } from '@antiphon/core';

/** @throws AntiphonError ABORTED when the caller's signal says so. */
export function throwIfGivenUp(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted !== true) return;
  const cause: unknown = signal.reason;
  throw new AntiphonError('ABORTED', `${what} was stopped by the caller.`, { cause });
}
