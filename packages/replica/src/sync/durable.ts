import { newestEpoch, type Store } from '@antiphon/core';
import type { Positions } from '../state/positions.js';
import type { Durable } from './acker.js';

/** What this replica acknowledges. */
export function durableOf(
  { store }: { readonly store: Pick<Store, 'state'> },
  { durable }: Pick<Positions, 'durable'>,
): Durable {
  return { seq: durable, epochSeq: newestEpoch(store.state()).seq };
}
