import { AntiphonError } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/**
 * Tells the file that other programs may write to it for a while more. Without its lease a primary
 * knows no more of who may than one that does not run.
 */
export function attend({ held, store, commits }: Scope): void {
  if (held.bars) return;
  try {
    store.renewForeignLease();
  } catch (thrown) {
    if (!(thrown instanceof AntiphonError)) throw thrown;
    // A commit like any other. That it went well says less: it needs no room.
    commits.failed(thrown);
  }
}
