import { AntiphonError } from '@antiphon/core';
import { isPrimary } from '../state/authority.js';
import type { Scope } from '../state/scope.js';

/** From the commit of a hand-over on, until the next epoch begins. */
export function isHandingOver({ authority, store }: Pick<Scope, 'authority' | 'store'>): boolean {
  return authority.byTerm && isPrimary(authority) && store.state().writes === 'refuse';
}

/** Which epoch is to end, and until when whoever wants that waits for it: monotonic. */
export interface HandOverBegin {
  readonly epoch: number;
  readonly beforeMs: number;
}

/**
 * In a turn of the replica actor. False: nothing has changed, since this replica is not the primary
 * of that epoch any more, or hands over already.
 *
 * @throws AntiphonError TIMEOUT when the turn comes too late, and what `Store.handOver` throws;
 *   nothing has changed then either
 */
export async function beginHandOver(scope: Scope, { epoch, beforeMs }: HandOverBegin): Promise<boolean> {
  const { authority, store, health, clock, id } = scope;
  if (clock.monotonicMs() > beforeMs) {
    const message =
      `Replica ${id} was kept for too long by a long write, or by one that waits for the log. ` +
      'Call again, or give it more time.';
    throw new AntiphonError('TIMEOUT', message, { context: { replica: id } });
  }
  if (!isPrimary(authority) || authority.current().epoch !== epoch || isHandingOver(scope)) return false;
  health.handle('hand-over');
  try {
    await store.handOver();
  } catch (thrown) {
    health.handle('keep-role');
    throw thrown;
  }
  return true;
}
