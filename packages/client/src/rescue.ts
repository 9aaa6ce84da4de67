import {
  AntiphonError,
  type Batch,
  ChangeDecoder,
  checkRequired,
  decodeBatches,
  type OptionNames,
  type RescueChange,
  rescueChangeOf,
  withAbortReason,
} from '@antiphon/core';
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
    const request = { id, after: shown.length };
    const { shown: page, ...detail } = await withAbortReason(replica.ask('rescued', request, wait), wait);
    shown.push(...page.map(revived));
    if (!detail.more || shown.length >= limit)
      return { ...detail, shown: shown.slice(0, limit), more: detail.more || shown.length > limit };
  }
}

/** What a replica's ledger has under a number. Throws BAD_OPTION where that is nothing. */
export async function findRescued(
  replica: ReplicaRef,
  id: number,
  wait: AskLimits,
): Promise<RescuedTransaction> {
  const query = id > 1 ? { afterId: id - 1 } : {};
  const { transactions } = await withAbortReason(replica.ask('rescues', query, wait), wait);
  const [found] = transactions;
  if (found?.id === id) return found;
  throw new AntiphonError('BAD_OPTION', `Nothing was rescued as ${id}. See \`antiphon rescue list\`.`);
}

/**
 * All changes of one transaction of a replica's rescue ledger, in order, with whole values however
 * long they are: what the ledger keeps comes piece by piece, and is decoded here.
 */
export async function* rescuedChanges(
  replica: ReplicaRef,
  id: number,
  wait: AskLimits,
): AsyncGenerator<RescueChange, void, undefined> {
  checkRequired(wait, LIMITS, 'rescuedChanges()', ['timeoutMs', 'signal']);
  const { changes: expected } = await findRescued(replica, id, wait);
  let count = 0;
  let inParts: (Pick<Batch, 'tables'> & { readonly decoder: ChangeDecoder }) | undefined;
  for (let part = 0; ; part++) {
    const message = await rescuedMessage(replica, id, part, wait);
    if (message === undefined) break;
    for (const batch of decodeBatches(message)) {
      const { tables } = batch;
      if (batch.kind === 'part') inParts ??= { tables, decoder: new ChangeDecoder(tables) };
      const [changes, dictionary] =
        batch.kind === 'part'
          ? [inParts?.decoder.changesIn(batch.body) ?? [], inParts?.tables ?? tables]
          : [batch.transactions.flatMap((transaction) => transaction.changes), tables];
      for (const change of changes) {
        count++;
        yield rescueChangeOf(change, dictionary);
      }
    }
  }
  if (count !== expected) throw takenOut(id);
  inParts?.decoder.end();
}

/** Undefined: there are no more. */
async function rescuedMessage(
  replica: ReplicaRef,
  id: number,
  part: number,
  wait: AskLimits,
): Promise<Uint8Array | undefined> {
  let message: Uint8Array | undefined;
  for (let offset = 0; ;) {
    const request = { id, part, offset };
    const { data, bytes } = await withAbortReason(replica.ask('rescuedData', request, wait), wait);
    if (bytes === 0 && message === undefined) return undefined;
    message ??= new Uint8Array(bytes);
    if (message.length !== bytes || data.length === 0 || offset + data.length > bytes) throw takenOut(id);
    message.set(data, offset);
    offset += data.length;
    if (offset === bytes) return message;
  }
}

function takenOut(id: number): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `What was rescued as ${id} left the ledger while it was read: the log has brought it back. ` +
      'See `antiphon rescue list`.',
  );
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
