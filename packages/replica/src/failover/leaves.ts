import { AntiphonError, mailboxPrefix, newestEpoch } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/** One that runs answers within a moment; the claim waits for it. */
const PING_TIMEOUT_MS = 150;
/** In beats: heard not longer ago than this, it is slow and not silent. */
const SILENT_BEATS = 2;

/**
 * Members that leave the in-sync set with the record of this replica's epoch: the last primary,
 * when it is silent. Else every write that waits for all would wait until it has been silent for
 * `inSyncLagMs`. It comes back by itself when it has caught up.
 */
export async function leavesOf(scope: Scope, signal: AbortSignal): Promise<readonly string[]> {
  const { sync, store, id } = scope;
  const { primary } = newestEpoch(store.state());
  if (primary === undefined || primary === id || sync?.inSync.known.includes(primary) !== true) return [];
  return (await isSilent(scope, primary, signal)) ? [primary] : [];
}

async function isSilent(scope: Scope, primary: string, signal: AbortSignal): Promise<boolean> {
  const { bus, cluster } = scope;
  try {
    const options = { timeoutMs: PING_TIMEOUT_MS, signal };
    await bus.request(`${mailboxPrefix(cluster, primary)}.ping`, new Uint8Array(0), options);
    return false;
  } catch (thrown) {
    if (!(thrown instanceof AntiphonError)) throw thrown;
    if (thrown.code === 'NO_ACTOR') return true;
    return thrown.code === 'TIMEOUT' && !wasHeard(scope, primary);
  }
}

function wasHeard({ members, clock, limits }: Scope, primary: string): boolean {
  const member = members.all.find(({ record }) => record.id === primary);
  const silentMs = member === undefined ? Infinity : clock.monotonicMs() - member.lastSeenMs;
  return silentMs <= SILENT_BEATS * limits.beatMs;
}
