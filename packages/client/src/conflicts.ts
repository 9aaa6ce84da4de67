import { checkRequired, type OptionNames, withAbortReason } from '@antiphon/core';
import type { ConflictList } from '@antiphon/replica';
import { revivedConflicts } from '@antiphon/replica/internal';
import type { AskLimits } from './quarantine.js';
import type { ReplicaRef } from './replica-ref.js';

const LIMITS: OptionNames<AskLimits> = { timeoutMs: true, signal: true };

/** Up to `limit` of the conflicts that a replica has decided last, with both rows, newest first. */
export async function listConflicts(
  replica: ReplicaRef,
  limit: number,
  wait: AskLimits,
): Promise<ConflictList> {
  checkRequired(wait, LIMITS, 'listConflicts()', ['timeoutMs', 'signal']);
  let list = await withAbortReason(replica.ask('conflicts', {}, wait), wait);
  while (list.more && list.conflicts.length < limit) {
    const beforeId = list.conflicts.at(-1)?.id ?? 1;
    const next = await withAbortReason(replica.ask('conflicts', { beforeId }, wait), wait);
    list = { ...next, conflicts: [...list.conflicts, ...next.conflicts] };
  }
  const conflicts = list.conflicts.slice(0, limit);
  const more = list.more || conflicts.length < list.conflicts.length;
  return revivedConflicts({ ...list, conflicts, more });
}
