import { AntiphonError } from '@antiphon/core';

/** Whether a request was sent and nobody has answered it in its time. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof AntiphonError && error.cause === 'timeout';
}

/** Whether NATS was there, and nobody could do it: likewise, or there is no leader who could. */
export function isUnserved(error: unknown): boolean {
  return error instanceof AntiphonError && error.code === 'LOG_UNAVAILABLE' && error.cause !== 'disconnected';
}
