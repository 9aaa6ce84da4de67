import type { Scope } from '../state/scope.js';

/**
 * Tells the file that other programs may write to it for a while more. Without its lease a primary
 * knows no more of who may than one that does not run.
 */
export function attend({ held, store }: Scope): void {
  if (!held.bars) store.renewForeignLease();
}
