import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  checkOptions,
  EPOCH_ORIGIN,
  FAILOVER_IS_FOR_NEW_CLUSTERS,
  type EpochReason,
  newestEpoch,
  type OptionNames,
} from '@antiphon/core';
import { assertTimeout } from '../wait/deadline.js';
import { isHandingOver } from './begin-hand-over.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import { isCreated } from '../state/created.js';
import { missingOf } from '../state/missing.js';
import type { WaitOptions } from '../state/progress.js';
import type { Scope } from '../state/scope.js';

/** Who is the primary now, and from which entry of the log on. */
export interface TakenOver {
  readonly epoch: number;
  readonly primary: string;
  readonly seq: number;
  /** It is the replica that was asked. */
  readonly elected: boolean;
}

/** How long to wait for the log. */
export interface TakeOverOptions {
  /**
   * In milliseconds; TIMEOUT after that. What was sent to the log by then may still come.
   * @defaultValue 10 000
   */
  readonly timeoutMs?: number;
  /** Ends the wait; what was claimed by then may still come. */
  readonly signal?: AbortSignal;
}

const TAKE_OVER_OPTIONS: OptionNames<TakeOverOptions> = { timeoutMs: true, signal: true };
const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Makes this replica the primary: it claims the next epoch, and has it once it has read everything
 * in front of it. Another replica's claim may come before; then that one is the primary.
 *
 * @throws AntiphonError BAD_OPTION where the cluster has no failover; TIMEOUT
 */
export async function takeOver(
  scope: Scope,
  replica: ActorRef<ReplicaProtocol>,
  why: EpochReason,
  options: TakeOverOptions = {},
): Promise<TakenOver> {
  const { authority, positions, progress, log, store, id, health, clock } = scope;
  checkOptions(options, TAKE_OVER_OPTIONS, 'takeOver()');
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  assertTimeout(timeoutMs);
  assertFailover(scope);
  const waiting = { timeoutMs, ...(signal && { signal }) };
  const newest = await log.lastOf(EPOCH_ORIGIN, signal);
  const newestSeq = newest?.seq ?? 0;
  await progress.until(() => positions.passed >= newestSeq || !health.replicating, {
    ...waiting,
    what: `${id} has read the log to entry ${newestSeq}`,
  });
  await progress.until(() => isCreated(scope) || !health.replicating, {
    ...waiting,
    what: `the rows that ${scope.document.creator} created the cluster with have come into the log`,
  });
  if (missingOf(scope).length > 0) await untilWhole(scope, waiting);
  await progress.until(() => !isHandingOver(scope) || !health.replicating, {
    ...waiting,
    what: `a switchover of ${id} is over`,
  });
  const before = newestEpoch(store.state()).number;
  if (!authority.current().mayWrite) {
    await replica.ask('claim', { why, untilMs: clock.monotonicMs() + timeoutMs });
    await progress.until(() => newestEpoch(store.state()).number > before || !health.replicating, {
      ...waiting,
      what: `the log has another epoch than ${before}`,
    });
  }
  await replica.ask('enter', undefined, waiting).catch(unlessLate);
  if (health.stopped !== undefined) throw health.stopped;
  const { number: epoch, primary = '', seq } = newestEpoch(store.state());
  return { epoch, primary, seq, elected: authority.current().mayWrite };
}

/**
 * What it wrote would not build on what it misses and others have, and theirs not on its own. The
 * log is read again meanwhile, and tells whether anybody has it.
 */
async function untilWhole(scope: Scope, waiting: Omit<WaitOptions, 'what'>): Promise<void> {
  const { progress, health, id } = scope;
  const [first] = missingOf(scope);
  const missing = first === undefined ? 'something' : `${first.origin}:${first.expected}`;
  await progress.until(() => missingOf(scope).length === 0 || !health.replicating, {
    ...waiting,
    what: `${id} has ${missing}, which it misses and others may have (\`antiphon status\` says why)`,
  });
}

/** The log has decided by then: a long write may keep this thread from entering the epoch. */
function unlessLate(thrown: unknown): void {
  if (!(thrown instanceof AntiphonError) || thrown.code !== 'TIMEOUT') throw thrown;
}

/** Throws BAD_OPTION. */
export function assertFailover({ authority, cluster }: Pick<Scope, 'authority' | 'cluster'>): void {
  if (authority.byTerm) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `Cluster ${cluster} was created without \`failover\`, so its primary stays the primary. ${FAILOVER_IS_FOR_NEW_CLUSTERS}.`,
    { context: { cluster } },
  );
}
