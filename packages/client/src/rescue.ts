import { checkRequired, type OptionNames, withAbortReason } from '@antiphon/core';
import type {
  ReapplyAnswer,
  RescueDetail,
  RescuedTransaction,
  RescueList,
  RescueQuery,
  ShownRescueChange,
} from '@antiphon/replica';
import { revived } from '@antiphon/replica/internal';
import type { ReplicaRef } from './replica-ref.js';
import type { AskLimits } from './quarantine.js';

const LIMITS: OptionNames<AskLimits> = { timeoutMs: true, signal: true };

/** Up to `limit` transactions of a replica's rescue ledger, however many answers they take. */
export async function listRescued(
  replica: ReplicaRef,
  limit: number,
  wait: AskLimits,
  query: Pick<RescueQuery, 'state'> = {},
): Promise<RescueList> {
  checkRequired(wait, LIMITS, 'listRescued()', ['timeoutMs', 'signal']);
  let list = await withAbortReason(replica.ask('rescues', query, wait), wait);
  while (list.more && list.transactions.length < limit) {
    const afterId = list.transactions.at(-1)?.id ?? 0;
    const next = await withAbortReason(replica.ask('rescues', { ...query, afterId }, wait), wait);
    list = { ...next, transactions: [...list.transactions, ...next.transactions] };
  }
  const transactions = list.transactions.slice(0, limit);
  return { ...list, transactions, more: list.more || transactions.length < list.transactions.length };
}

/** One transaction of a replica's rescue ledger with up to `limit` changes; long values are cut. */
export async function showRescued(
  replica: ReplicaRef,
  id: number,
  limit: number,
  wait: AskLimits,
): Promise<RescueDetail> {
  checkRequired(wait, LIMITS, 'showRescued()', ['timeoutMs', 'signal']);
  const shown: ShownRescueChange[] = [];
  for (;;) {
    const request = { id, after: shown.length, whole: false };
    const { shown: page, ...detail } = await withAbortReason(replica.ask('rescued', request, wait), wait);
    shown.push(...page.map(revived));
    if (!detail.more || shown.length >= limit)
      return { ...detail, shown: shown.slice(0, limit), more: detail.more || shown.length > limit };
  }
}

/** All changes of one transaction of a replica's rescue ledger, in order, with whole values. */
export async function* rescuedChanges(
  replica: ReplicaRef,
  id: number,
  wait: AskLimits,
): AsyncGenerator<ShownRescueChange, void, undefined> {
  checkRequired(wait, LIMITS, 'rescuedChanges()', ['timeoutMs', 'signal']);
  for (let after = 0; ;) {
    const request = { id, after, whole: true };
    const { shown, more } = await withAbortReason(replica.ask('rescued', request, wait), wait);
    yield* shown.map(revived);
    after += shown.length;
    if (!more || shown.length === 0) return;
  }
}

/** Writes a transaction of a replica's rescue ledger again, on the primary. */
export async function reapplyRescued(
  replica: ReplicaRef,
  id: number,
  options: { readonly force: boolean },
  wait: AskLimits,
): Promise<ReapplyAnswer> {
  checkRequired(wait, LIMITS, 'reapplyRescued()', ['timeoutMs', 'signal']);
  const { force } = options;
  const answer = await withAbortReason(replica.ask('reapplyRescued', { id, force }, wait), wait);
  return { ...answer, conflicts: answer.conflicts.map(revived) };
}

/** Notes that nobody needs a transaction of a replica's rescue ledger. */
export async function dismissRescued(
  replica: ReplicaRef,
  id: number,
  wait: AskLimits,
): Promise<RescuedTransaction> {
  checkRequired(wait, LIMITS, 'dismissRescued()', ['timeoutMs', 'signal']);
  return withAbortReason(replica.ask('dismissRescued', { id }, wait), wait);
}
