import {
  AntiphonError,
  counterOf,
  formatOutcomeId,
  parseOutcomeId,
  type GroupOutcome,
  type Position,
  type TransactionId,
} from '@antiphon/core';
import type { ActorRef } from '@antiphon/actor';
import { Deadline } from './deadline.js';
import type { ReplicaProtocol } from './protocols.js';
import type { Scope } from './scope.js';

/** What became of a write, as far as this replica can tell. */
export interface Outcome {
  readonly outcome: 'committed' | 'rejected' | 'unknown';
  readonly id: string;
  /** Of a committed synchronous write: its place in the log. */
  readonly position?: Position;
  /** Why it was rejected, or what to do to learn more. */
  readonly reason?: string;
}

type Asked = TransactionId & { readonly token?: string };

const DEFAULT_TIMEOUT_MS = 5000;

/**
 * Whatever the log holds now is looked at first. The origin itself can decide what nobody has seen: it uses up the counter, so that
 * an attempt which took it and was lost can never come back. Throws BAD_OPTION, TIMEOUT, LOG_UNAVAILABLE.
 */
export async function findOutcome(
  scope: Scope,
  replica: ActorRef<ReplicaProtocol>,
  given: string | TransactionId,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): Promise<Outcome> {
  const asked: Asked = typeof given === 'string' ? parseOutcomeId(given) : given;
  const known = await look(scope, asked);
  if (known !== undefined) return known;
  const deadline = new Deadline(scope.clock, timeoutMs);
  try {
    await seeEverything(scope, deadline);
    const seen = await look(scope, asked);
    if (seen !== undefined) return seen;
    if (asked.origin !== scope.id || scope.sync === undefined || !scope.writable)
      return undecided(scope, asked);
    replica.tell('fence', asked.counter);
    await scope.progress.until(() => scope.progress.ownCounter >= asked.counter, {
      timeoutMs: deadline.leftMs,
      what: `counter ${asked.counter} was used up`,
    });
    return (await look(scope, asked)) ?? undecided(scope, asked);
  } finally {
    deadline.end();
  }
}

async function look({ store, sync }: Scope, asked: Asked): Promise<Outcome | undefined> {
  const group = await store.outcomeOf(asked);
  const id = formatOutcomeId(asked, asked.token);
  if (group !== undefined) return ofGroup(group, asked, id, store.state().position.generation);
  if (counterOf(store.state().vector, asked.origin) < asked.counter) return undefined;
  if (sync === undefined) return { outcome: 'committed', id };
  const reason = 'it was no synchronous write, or it is too long ago: its outcome is not kept any more';
  return { outcome: 'unknown', id, reason };
}

function ofGroup(group: GroupOutcome, asked: Asked, id: string, generation: string): Outcome {
  if (asked.token !== undefined && asked.token !== group.token) {
    return { outcome: 'rejected', id, reason: 'it never came into the log: another attempt has its number' };
  }
  if (group.rejected.includes(asked.counter)) {
    return { outcome: 'rejected', id, reason: 'certification: another transaction was committed first' };
  }
  return { outcome: 'committed', id, position: { generation, seq: group.seq } };
}

async function seeEverything({ log, progress, condition }: Scope, deadline: Deadline): Promise<void> {
  if (!condition.replicating) return;
  const { lastSeq } = await log.identity(deadline.signal);
  await progress.until(() => progress.seq >= lastSeq || !condition.replicating, {
    timeoutMs: deadline.leftMs,
    what: `entry ${lastSeq} of the log was applied`,
  });
}

function undecided({ id: self }: Scope, asked: Asked): Outcome {
  const { origin } = asked;
  const where =
    origin === self
      ? 'ask again'
      : `only ${origin} itself can decide: ask there (or again, once it has written)`;
  return {
    outcome: 'unknown',
    id: formatOutcomeId(asked, asked.token),
    reason: `the log does not hold it now, and nothing says that it never will; ${where}`,
  };
}

/** For remote callers. Throws BAD_OPTION. */
export function parseOutcomeRequest(input: unknown): string {
  if (typeof input === 'string') return input;
  throw new AntiphonError('BAD_OPTION', 'id is not valid; give the id of a transaction, e.g. eu-1:42');
}
