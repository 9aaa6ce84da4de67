import { counted, decodeCursor } from '@antiphon/core';
import type { SubscriptionInfo } from '@antiphon/replica';
import { fail, ok, warn, type Check } from './check.js';

/** Longer than any wall clock of a healthy cluster is off. */
const SILENT_MS = 60_000;

/** `firstSeq`: where the log begins. */
export function subscriptionChecks(
  subscriptions: readonly SubscriptionInfo[],
  firstSeq: number,
  nowMs: number,
): readonly Check[] {
  return subscriptions.map((info) => check(info, firstSeq, nowMs));
}

function check(info: SubscriptionInfo, firstSeq: number, nowMs: number): Check {
  const { name, place, holder, lagEntries, writtenAtMs, problem } = info;
  const id = `subscription ${name}`;
  if (problem !== undefined) {
    const advice = `Find out who writes it, run \`antiphon subscriptions --remove ${name}\` and subscribe again.`;
    return fail(id, `The registry's record of ${id} cannot be read.`, advice);
  }
  const lost = `See "When the place is lost" in docs/subscriptions.md.`;
  if (lagEntries === undefined) return warn(id, `The place of ${id} is in another log.`, lost);
  const { seq } = decodeCursor(place);
  if (seq < firstSeq)
    return warn(id, `The place of ${id} is entry ${seq}, and the log begins at ${firstSeq}.`, lost);
  const behind = `${counted(lagEntries, 'entry', 'entries')} behind`;
  const remove = `or, if nobody needs it, run \`antiphon subscriptions --remove ${name}\``;
  if (holder === undefined) {
    if (lagEntries === 0) return ok(id, `${id}: nobody is active, nothing is left`);
    return warn(id, `Nobody is active in ${id}, which is ${behind}.`, `Start its service, ${remove}.`);
  }
  const silentMs = nowMs - writtenAtMs;
  if (silentMs > holder.leaseMs + SILENT_MS) {
    const advice = `Start its service again, ${remove}.`;
    return warn(
      id,
      `${holder.replica} holds ${id} and was last heard of ${Math.round(silentMs / 1000)} s ago, ${behind}.`,
      advice,
    );
  }
  return ok(id, `${id}: active on ${holder.replica}, ${behind}`);
}
