import {
  AntiphonError,
  assertSubscriptionName,
  checkOptions,
  decodeCursor,
  listSubscriptions,
  type OptionNames,
  removeSubscription,
  shownOption,
  type SubscriptionHolder,
  type SubscriptionRecord,
} from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { beginningOf, choiceOf, type ChangesOptions, type CommittedChange } from './changes.js';
import { DurableSubscription, type Subscription } from './subscription.js';

/** What a subscription delivers, where a new one begins, and how long its lease lasts. */
export interface SubscribeOptions<T extends string = string> extends ChangesOptions<T> {
  /**
   * Where the subscription begins if it does not exist yet; one that exists goes on at its place.
   * `'now'`, the call; `'beginning'`, as far back as the log reaches; or the cursor of a change.
   *
   * @defaultValue `'now'`
   */
  readonly from?: string;
  /**
   * How long the active instance may be silent before another one takes over, milliseconds: after a
   * crash, a pause, or a loss of its connection. From 1000 to 600 000.
   *
   * @defaultValue 10 000
   */
  readonly leaseMs?: number;
}

/** A durable subscription of the cluster, active or not. Plain JSON. */
export interface SubscriptionInfo {
  readonly name: string;
  /**
   * The cursor of the last acknowledged change, or of a later place. `from` of a new subscription
   * takes it.
   */
  readonly place: string;
  /** Rises whenever another instance becomes the active one. */
  readonly epoch: number;
  /** Who was active when the record was last written; absent when nobody is. */
  readonly holder?: SubscriptionHolder;
  /**
   * Entries of the log that are not acknowledged yet, those without a wanted change included.
   * Absent when the place is in another log.
   */
  readonly lagEntries?: number;
  /** Wall times of the replicas that wrote them. */
  readonly createdAtMs: number;
  readonly writtenAtMs: number;
  /**
   * Why the registry's record of it cannot be read, and what to do. Nothing but the name is known
   * then: `place` is empty, and the numbers say nothing.
   */
  readonly problem?: string;
}

const SUBSCRIBE_OPTIONS: OptionNames<SubscribeOptions> = {
  ...{ tables: true, from: true, integers: true, leaseMs: true, signal: true },
};
const DEFAULT_LEASE_MS = 10_000;
const [MIN_LEASE_MS, MAX_LEASE_MS] = [1000, 600_000];

/**
 * Checks everything at the call; takes part from the first `next()` on. Throws BAD_OPTION,
 * UNKNOWN_TABLE, CLOSED.
 */
export function subscribe(
  scope: Scope,
  name: string,
  options: SubscribeOptions,
): Subscription<CommittedChange> {
  assertSubscriptionName(name);
  checkOptions(options, SUBSCRIBE_OPTIONS, 'subscribe()');
  const { from = 'now', leaseMs = DEFAULT_LEASE_MS, signal } = options;
  if (!(leaseMs >= MIN_LEASE_MS && leaseMs <= MAX_LEASE_MS)) {
    const range = `from ${MIN_LEASE_MS} to ${MAX_LEASE_MS}`;
    throw new AntiphonError(
      'BAD_OPTION',
      `\`leaseMs\` is ${shownOption(leaseMs)}. Give milliseconds ${range}.`,
    );
  }
  const choice = choiceOf(scope, options, 'subscribe()');
  // A loop around it would go round without a pause.
  scope.closing.throwIfAborted();
  const beginning = beginningOf(scope, from);
  return new DurableSubscription({ scope, name, leaseMs, beginning, choice, signal });
}

/** Throws LOG_UNAVAILABLE, CLOSED. */
export function subscriptionsOf({ registry, log, closing }: Scope): Promise<readonly SubscriptionInfo[]> {
  return whileOpen(closing, async () => {
    const records = await listSubscriptions(registry);
    const identity = await log.identity();
    return records.map((record) => describeSubscription(record, identity));
  });
}

/** Throws BAD_OPTION when there is none, LOG_UNAVAILABLE, CLOSED. */
export async function removeSubscriptionOf(
  { registry, log, clock, closing }: Scope,
  name: string,
): Promise<SubscriptionInfo> {
  assertSubscriptionName(name);
  return whileOpen(closing, async () => {
    const identity = await log.identity();
    return describeSubscription(await removeSubscription(registry, name, clock.nowMs()), identity);
  });
}

/** A replica that closes takes its connection along: that is why the log cannot be reached then. */
async function whileOpen<T>(closing: AbortSignal, work: () => Promise<T>): Promise<T> {
  closing.throwIfAborted();
  try {
    return await work();
  } catch (error) {
    const isCutOff = error instanceof AntiphonError && error.retriable;
    throw isCutOff && closing.aborted ? closing.reason : error;
  }
}

/** `log`: what it is and how far it goes. */
export function describeSubscription(
  record: SubscriptionRecord,
  log: { readonly generation: string; readonly lastSeq: number },
): SubscriptionInfo {
  const { removed: _, unreadable, ...info } = record;
  if (unreadable !== undefined) return { ...info, problem: unreadable.message };
  const { generation, seq } = decodeCursor(record.place);
  if (generation !== log.generation) return info;
  return { ...info, lagEntries: Math.max(0, log.lastSeq + 1 - seq) };
}
