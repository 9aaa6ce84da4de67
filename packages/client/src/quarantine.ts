import { checkRequired, withAbortReason, type OptionNames } from '@antiphon/core';
import type { QuarantineList, RetryAnswer } from '@antiphon/replica';
import type { ReplicaRef } from './replica-ref.js';

/** How long one answer is waited for, and what ends the waiting. */
export interface AskLimits {
  /** For each answer, in milliseconds; TIMEOUT after that. */
  readonly timeoutMs: number;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
}

const LIMITS: OptionNames<AskLimits> = { timeoutMs: true, signal: true };

/** Up to `limit` messages of a replica's quarantine, however many answers they take. */
export async function listQuarantine(
  replica: ReplicaRef,
  limit: number,
  wait: AskLimits,
): Promise<QuarantineList> {
  checkRequired(wait, LIMITS, 'listQuarantine()', ['timeoutMs', 'signal']);
  let list = await withAbortReason(replica.ask('quarantine', {}, wait), wait);
  while (list.more && list.messages.length < limit) {
    const afterId = list.messages.at(-1)?.id ?? 0;
    const next = await withAbortReason(replica.ask('quarantine', { afterId }, wait), wait);
    list = { ...next, messages: [...list.messages, ...next.messages] };
  }
  const messages = list.messages.slice(0, limit);
  return { ...list, messages, more: list.more || messages.length < list.messages.length };
}

/** Judges all messages of a replica's quarantine again, or those of one entry of the log. */
export async function retryQuarantine(
  replica: ReplicaRef,
  seq: number | undefined,
  wait: AskLimits,
): Promise<RetryAnswer> {
  checkRequired(wait, LIMITS, 'retryQuarantine()', ['timeoutMs', 'signal']);
  const query = seq === undefined ? {} : { seq };
  let answer = await withAbortReason(replica.ask('retry', query, wait), wait);
  const { held } = answer;
  while (answer.afterId !== undefined && !wait.signal.aborted) {
    const { afterId } = answer;
    const next = await withAbortReason(replica.ask('retry', { ...query, afterId }, wait), wait);
    answer = { ...next, results: [...answer.results, ...next.results] };
  }
  return { ...answer, ...(held && { held }) };
}
