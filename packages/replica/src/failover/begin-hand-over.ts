import { isPrimary } from '../state/authority.js';
import type { Scope } from '../state/scope.js';

/** From the commit of a hand-over on, until the next epoch begins. */
export function isHandingOver({ authority, store }: Pick<Scope, 'authority' | 'store'>): boolean {
  return authority.byTerm && isPrimary(authority) && store.state().writes === 'refuse';
}

/**
 * In a turn of the replica actor. False: nothing has changed, since this replica is not the primary
 * of that epoch any more, or hands over already.
 *
 * @throws what `Store.handOver` throws; nothing has changed then either
 */
export async function beginHandOver(scope: Scope, epoch: number): Promise<boolean> {
  const { authority, store, health } = scope;
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
