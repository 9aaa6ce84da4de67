import { remoteRef } from '@antiphon/actor';
import { AntiphonError, counted, durationText, mailboxPrefix, toAntiphonError } from '@antiphon/core';
import type { LifecycleState } from '../config/lifecycle.js';
import type { PeerProtocol, Standing } from '../state/peer.js';
import type { ReplicaScope } from '../sync/replica-scope.js';

const ASK_MS = 2000;
/** Writes would wait for too long until it has read them. */
const MOST_BEHIND_ENTRIES = 1000;

/**
 * What a replica that runs comes out of without anybody's help, usually within moments. A primary
 * that another one has deposed has read the log up to there soon. Nobody can say when a database
 * takes again what it refuses (`holding`), and a stall needs a person.
 */
const PASSING: Readonly<Record<string, boolean | undefined>> = {
  joining: true,
  bootstrapping: true,
  'catching-up': true,
  following: true,
  primary: true,
  suspended: true,
  draining: true,
  rewinding: true,
  holding: false,
  stalled: false,
  failed: false,
  closing: false,
  closed: false,
} satisfies Record<LifecycleState, boolean>;

const BUSY = 'not able to commit at once: it is busy, or another program holds its write lock';

/** What the record of the next epoch says of who is to be the primary. */
export interface Successor {
  readonly standing: Standing;
  readonly instance: string;
}

export interface LookedAt {
  readonly successor: Successor;
  /** Why it cannot become the primary now, after "it is"; absent when it can. */
  readonly obstacle?: string;
  /** That ends by itself. */
  readonly isPassing: boolean;
}

interface Patience {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Throws NO_ACTOR when it does not answer. `isCandidate`: it has just been asked what an election
 * asks, and is not asked again.
 */
export async function lookAtSuccessor(
  scope: ReplicaScope,
  to: string,
  { isCandidate, ...patience }: Patience & { readonly isCandidate: boolean },
): Promise<LookedAt> {
  const { bus, cluster, positions } = scope;
  const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, to));
  const limit = limitOf(patience);
  const [{ instance, lifecycle }, standing, candidacy] = await Promise.all([
    mailbox.ask('ping', undefined, limit),
    mailbox.ask('standing', undefined, limit),
    isCandidate ? undefined : mailbox.ask('candidacy', undefined, limit),
  ]).catch((thrown: unknown) => {
    throw absent(scope, to, thrown);
  });
  const behind = positions.passed - standing.seq;
  const found = { successor: { standing, instance } };
  // Of another build's states nothing is known.
  if (lifecycle !== 'following')
    return { ...found, obstacle: lifecycle, isPassing: PASSING[lifecycle] ?? false };
  if (behind > MOST_BEHIND_ENTRIES)
    return { ...found, obstacle: `${counted(behind, 'entry', 'entries')} behind`, isPassing: true };
  // Few entries may be many rows. What is left when writes stop is read in about that time.
  if (candidacy !== undefined && candidacy.lagMs > patience.timeoutMs / 2)
    return { ...found, obstacle: `${durationText(candidacy.lagMs)} behind`, isPassing: true };
  if (candidacy?.obstacle !== undefined)
    return { ...found, obstacle: `no candidate, since ${candidacy.obstacle}`, isPassing: false };
  if (candidacy?.isBusy === true) return { ...found, obstacle: BUSY, isPassing: true };
  return { ...found, isPassing: false };
}

/** How far it is on its way to its own epoch. */
export interface Entering {
  /** The epoch has begun there. */
  readonly hasEntered: boolean;
  /** It has read the log up to here. */
  readonly seq: number;
}

/**
 * Whether it says that this epoch has begun there. The log may name it and its database not take
 * that: then nobody takes writes. Undefined when it does not answer.
 */
export async function entering(
  { bus, cluster }: Pick<ReplicaScope, 'bus' | 'cluster'>,
  to: string,
  epoch: number,
  patience: Patience,
): Promise<Entering | undefined> {
  const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, to));
  const standing = await mailbox.ask('standing', undefined, limitOf(patience)).catch(() => undefined);
  return standing && { hasEntered: (standing.epoch?.number ?? 0) >= epoch, seq: standing.seq };
}

function limitOf({ timeoutMs, signal }: Patience): Patience {
  return { timeoutMs: Math.min(ASK_MS, timeoutMs), ...(signal && { signal }) };
}

function absent({ id, cluster }: ReplicaScope, to: string, thrown: unknown): AntiphonError {
  const error = toAntiphonError(thrown);
  if (error.code !== 'NO_ACTOR' && error.code !== 'TIMEOUT') return error;
  return new AntiphonError(
    'NO_ACTOR',
    `${to} does not answer, so it cannot become the primary. ${id} stays the primary. Start ${to}, or name another replica.`,
    { cause: error, context: { cluster, replica: to } },
  );
}
