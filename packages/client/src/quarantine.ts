import type { QuarantineList, RetryAnswer } from '@antiphon/replica';
import type { ReplicaRef } from './cluster-client.js';

/** How long one answer is waited for, and what ends the waiting. */
export interface AskLimits {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Up to `limit` messages of a replica's quarantine, however many answers they take. */
export async function listQuarantine(
  replica: ReplicaRef,
  limit: number,
  wait: AskLimits,
): Promise<QuarantineList> {
  let list = await replica.ask('quarantine', {}, wait);
  while (list.more && list.messages.length < limit) {
    const afterId = list.messages.at(-1)?.id ?? 0;
    const next = await replica.ask('quarantine', { afterId }, wait);
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
  const query = seq === undefined ? {} : { seq };
  let answer = await replica.ask('retry', query, wait);
  const { held } = answer;
  while (answer.afterId !== undefined && !wait.signal.aborted) {
    const { afterId } = answer;
    const next = await replica.ask('retry', { ...query, afterId }, wait);
    answer = { ...next, results: [...answer.results, ...next.results] };
  }
  return { ...answer, ...(held && { held }) };
}
