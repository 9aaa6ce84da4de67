import { counterOf, newestEpoch, type Store } from '@antiphon/core';
import type { Positions } from '../state/positions.js';
import type { Durable } from './acker.js';

/** What this replica acknowledges to `origin`. */
export function durableOf(
  { store }: { readonly store: Pick<Store, 'state'> },
  { durable }: Pick<Positions, 'durable'>,
  origin: string,
): Durable {
  const state = store.state();
  return { seq: durable, counter: counterOf(state.vector, origin), epochSeq: newestEpoch(state).seq };
}
