import { abortReason, AntiphonError } from '@antiphon/core';

/**
 * @throws when the caller's signal says so: the reason that it was given, else an AntiphonError
 * ABORTED.
 */
export function throwIfGivenUp(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted !== true) return;
  const cause: unknown = signal.reason;
  throw abortReason(new AntiphonError('ABORTED', `${what} was stopped by the caller.`, { cause }), signal);
}
