import type { ActorRef } from '@antiphon/actor';
import { type Placed, rankCandidates, sentence, toAntiphonError } from '@antiphon/core';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { Deadline } from '../wait/deadline.js';
import { candidacies } from './candidacy.js';
import { handOver, switchOver } from './switch-over.js';

/**
 * A primary that ends lets the best of the others go on, where they elect one by themselves:
 * writers wait for some milliseconds, and not until they have noticed that it has gone. Nobody
 * waits for it longer than others wait for a primary. When nobody can take over, it just ends, and
 * is the primary again when it is started first. Never throws.
 */
export async function handOverAtEnd(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  timeoutMs: number,
): Promise<void> {
  const end = {
    what: `${scope.id} closes as the primary, and another replica takes its place when it notices.`,
  };
  await toSuccessor(scope, replica, { ...end, timeoutMs, hand: handOver });
}

/**
 * The same, for one that goes on for a while as a follower: what does not come about is taken back,
 * and tried again when it closes. Never throws.
 */
export async function handOverAhead(scope: ReplicaScope, replica: ActorRef<ReplicaProtocol>): Promise<void> {
  const what = `${scope.id} is still the primary, and hands over when it closes.`;
  await toSuccessor(scope, replica, { what, timeoutMs: Infinity, hand: switchOver });
}

interface Attempt {
  readonly timeoutMs: number;
  readonly hand: typeof handOver;
  /** When it does not come about. */
  readonly what: string;
}

async function toSuccessor(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  { timeoutMs, hand, what }: Attempt,
): Promise<void> {
  const { document, clock, logger, id } = scope;
  const { mode, leaseMs = 0 } = document.failover ?? {};
  if (mode !== 'automatic' || !isHolding(scope) || timeoutMs <= 0) return;
  const boundMs = Math.min(leaseMs, timeoutMs);
  const deadline = new Deadline(clock, boundMs, [], `another replica has taken over from ${id}`);
  try {
    const successor = await deadline.race(bestSuccessor(scope, replica, deadline.signal));
    if (successor === undefined || !isHolding(scope)) return;
    const limit = { timeoutMs: boundMs, signal: deadline.signal };
    const { epoch, primary } = await deadline.race(hand(scope, replica, successor, limit));
    logger.info({ epoch, primary }, `${primary} is the primary now: ${id} is closing.`);
  } catch (thrown) {
    const { code, message } = toAntiphonError(thrown);
    logger.warn({ code }, `${what} ${sentence(message)}`);
  } finally {
    deadline.end();
  }
}

function isHolding({ authority, health, log }: ReplicaScope): boolean {
  return authority.current().mayWrite && health.replicating && log.connection === 'connected';
}

/** Of the other members, whoever would be elected. */
export async function bestSuccessor(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  signal: AbortSignal = scope.closing,
): Promise<string | undefined> {
  // Who has joined a moment ago is not known yet; without an answer, the others are.
  await scope.members.refresh().catch(() => undefined);
  const answers = await candidacies(scope, replica, signal);
  const others = answers.filter(({ id }) => id !== scope.id);
  const ranked = rankCandidates(others, { sync: scope.sync !== undefined, nobodyForMs: 0 });
  const placed = ranked.filter(({ place }: Placed) => place !== undefined);
  const able = placed.find(({ candidate }) => candidate.isBusy !== true);
  return (able ?? placed[0])?.candidate.id;
}
