import { counted } from '@antiphon/core';
import type { MemberStatus, ReplicaStatus, TakenOver } from '@antiphon/replica';

/** What is known before another replica becomes the primary. */
export interface Plan {
  readonly cluster: string;
  readonly to: string;
  readonly candidate: ReplicaStatus;
  /** The one that is it now. */
  readonly primary: string;
  readonly answers: boolean;
  /** Of the primary, when it answers. */
  readonly status?: ReplicaStatus;
  /** What the candidate last heard of it. */
  readonly heard: MemberStatus | undefined;
  readonly epoch?: NonNullable<ReplicaStatus['epoch']>;
}

/** What happens, and what may be lost. */
export function planOf(plan: Plan): string {
  const { cluster, to, primary, candidate } = plan;
  const { lag, update } = candidate;
  const behind =
    lag.entries === 0
      ? `${to} has everything that the log holds.`
      : `${to} is ${counted(lag.entries, 'entry', 'entries')} behind the log, and reads them first.`;
  const kept =
    update.mode === 'sync'
      ? 'What was acknowledged is in the log: nothing of it is lost.'
      : `What ${primary} has committed and the log has not goes to its rescue ledger: ${unsentOf(plan)}`;
  return `${to} becomes the primary of ${cluster}, in place of ${primary}.\n${seenOf(plan)}\n${behind}\n${kept}\n`;
}

function seenOf({ primary, status, heard }: Plan): string {
  if (status !== undefined)
    return `${primary} answers: it is ${status.lifecycle}, at entry ${status.position.seq} of the log.`;
  if (heard?.seq === undefined) return `${primary} does not answer, and nothing was heard of it.`;
  return `${primary} does not answer. ${seconds(heard.silentMs)} ago it was ${heard.lifecycle}, at entry ${heard.seq} of the log.`;
}

function unsentOf({ status, heard }: Plan): string {
  if (status !== undefined) {
    const { unpublished, unsealed } = status.outbox;
    const changes = unsealed === 0 ? '' : `, and ${counted(unsealed, 'change')} of other programs`;
    return `${counted(unpublished, 'transaction')} now${changes}.`;
  }
  if (heard?.unpublished === undefined) return 'how much that is, nobody here knows.';
  return `${counted(heard.unpublished, 'transaction')} then, and what it wrote since.`;
}

/** Afterwards: where to look. */
export function lossOf({ primary, candidate, answers }: Plan): string {
  const when = answers ? '' : ' when it is started again';
  if (candidate.update.mode === 'sync') return `${primary} follows${when}.\n`;
  return `${primary} follows${when}. What the log had not of it is then in \`antiphon rescue list --replica ${primary}\`.\n`;
}

export function isTakenOver({ primary, elected }: TakenOver, to: string): boolean {
  return elected && primary === to;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
