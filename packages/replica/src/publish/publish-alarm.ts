import { type AntiphonError, sentence } from '@antiphon/core';
import type { Health } from '../state/health.js';

const NAME = 'publish';
/** A leader change or a lost connection costs a try or two, and is no news. */
const FAILURES_BEFORE = 3;

/**
 * The log did not take what was sent, for the n-th time in a row (from 0). The last reason is the
 * one that is shown. Changes wait in the outbox; synchronous writes are rejected when their time is
 * up.
 */
export function alarmPublish(
  health: Health,
  failures: number,
  error: AntiphonError,
  sent: 'changes' | 'synchronous writes' = 'changes',
): void {
  // An answer that was waited for in vain has taken longer than all the other tries.
  if (failures < FAILURES_BEFORE && error.code !== 'TIMEOUT') return;
  const [what, then] = error.code.startsWith('STORE_')
    ? ['Changes of this replica cannot be read from its database to be published', 'It retries.']
    : sent === 'changes'
      ? ['The log does not take changes of this replica', 'They are kept and sent again.']
      : ['The log does not take synchronous writes of this replica', 'They are rejected until it does.'];
  health.alarm(NAME, `${what}: ${sentence(error.message)} ${then}`);
}

export function isPublishAlarmed(health: Health): boolean {
  return health.isAlarmed(NAME);
}

/**
 * The log has taken something, or there is nothing to send. A log that merely answers proves
 * nothing: it may be full.
 */
export function endPublishAlarm(health: Health): void {
  health.clearAlarm(NAME);
}
