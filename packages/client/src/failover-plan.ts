import { AntiphonError, counted } from '@antiphon/core';
import type { MemberStatus, ReplicaStatus, TakenOver } from '@antiphon/replica';
import { primaryOf } from './choose-replica.js';
import type { MemberAnswer } from './member-answers.js';

/** What is known before another replica becomes the primary. */
export interface FailoverPlan {
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

type Answered = Pick<MemberAnswer, 'id' | 'status'> & { readonly error?: unknown };

/**
 * @throws AntiphonError NO_ACTOR when the candidate does not answer, BAD_OPTION where the cluster
 *   has no failover
 */
export function failoverPlan(cluster: string, to: string, answers: readonly Answered[]): FailoverPlan {
  const candidate = answers.find(({ id }) => id === to);
  if (candidate?.status === undefined)
    throw new AntiphonError(
      'NO_ACTOR',
      `${to} does not answer, so it cannot become the primary. Start it, or name another replica.`,
      { context: { cluster, replica: to }, cause: candidate?.error },
    );
  const statuses = answers.flatMap(({ status }) => status ?? []);
  assertFailover(cluster, candidate.status);
  const primary = primaryOf(statuses) ?? '';
  const status = statuses.find(({ id }) => id === primary);
  const { epoch } = candidate.status;
  return {
    ...{ cluster, to, primary, candidate: candidate.status, answers: status !== undefined },
    ...(epoch && { epoch }),
    ...(status && { status }),
    heard: candidate.status.members.find(({ id }) => id === primary),
  };
}

function assertFailover(cluster: string, { epoch }: ReplicaStatus): void {
  if (epoch !== undefined) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `Cluster ${cluster} was created without \`failover\`, so its primary stays the primary. Create it with \`failover\`.`,
    { context: { cluster } },
  );
}

/** `force`: how the caller says that it is to become the primary all the same. */
export function stillThere({ primary, cluster, to }: FailoverPlan, force: string): AntiphonError {
  return new AntiphonError(
    'MEMBER_RUNNING',
    `${primary}, the primary of ${cluster}, still answers. What it has committed and not yet sent would end in its rescue ledger. ` +
      `If ${to} is to become the primary all the same, say so with \`${force}\`.`,
    { context: { cluster, replica: primary } },
  );
}

/** What happens, and what may be lost, a sentence or two each. */
export function planOf(plan: FailoverPlan): readonly string[] {
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
  return [`${to} becomes the primary of ${cluster}, in place of ${primary}.`, seenOf(plan), behind, kept];
}

function seenOf({ primary, status, heard }: FailoverPlan): string {
  if (status !== undefined)
    return `${primary} answers: it is ${status.lifecycle}, at entry ${status.position.seq} of the log.`;
  if (heard?.seq === undefined) return `${primary} does not answer, and nothing was heard of it.`;
  return `${primary} does not answer. ${seconds(heard.silentMs)} ago it was ${heard.lifecycle}, at entry ${heard.seq} of the log.`;
}

function unsentOf({ status, heard }: FailoverPlan): string {
  if (status !== undefined) {
    const { unpublished, unsealed } = status.outbox;
    const changes = unsealed === 0 ? '' : `, and ${counted(unsealed, 'change')} of other programs`;
    return `${counted(unpublished, 'transaction')} now${changes}.`;
  }
  if (heard?.unpublished === undefined) return 'how much that is, nobody here knows.';
  return `${counted(heard.unpublished, 'transaction')} then, and what it wrote since.`;
}

/** Afterwards: where to look. */
export function lossOf({ primary, candidate, answers }: FailoverPlan): string {
  const when = answers ? '' : ' when it is started again';
  if (candidate.update.mode === 'sync') return `${primary} follows${when}.`;
  return `${primary} follows${when}. What the log had not of it is then in \`antiphon rescue list --replica ${primary}\`.`;
}

export function isTakenOver({ primary, elected }: TakenOver, to: string): boolean {
  return elected && primary === to;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
