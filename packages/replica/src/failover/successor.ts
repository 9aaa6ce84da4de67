import { remoteRef } from '@antiphon/actor';
import { AntiphonError, counted, mailboxPrefix, toAntiphonError } from '@antiphon/core';
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

/** Throws NO_ACTOR when it does not answer. */
export async function lookAtSuccessor(
  scope: ReplicaScope,
  to: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<LookedAt> {
  const { bus, cluster, positions } = scope;
  const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, to));
  const limit = { timeoutMs: Math.min(ASK_MS, timeoutMs), ...(signal && { signal }) };
  const [{ instance, lifecycle }, standing] = await Promise.all([
    mailbox.ask('ping', undefined, limit),
    mailbox.ask('standing', undefined, limit),
  ]).catch((thrown: unknown) => {
    throw absent(scope, to, thrown);
  });
  const behind = positions.passed - standing.seq;
  const obstacle =
    lifecycle !== 'following'
      ? lifecycle
      : behind > MOST_BEHIND_ENTRIES
        ? `${counted(behind, 'entry', 'entries')} behind`
        : undefined;
  return {
    successor: { standing, instance },
    ...(obstacle !== undefined && { obstacle }),
    // Of another build's states nothing is known.
    isPassing: PASSING[lifecycle] ?? false,
  };
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
