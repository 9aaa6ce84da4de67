import { counterOf, newestEpoch, type Store } from '@antiphon/core';
import type { Positions } from '../state/positions.js';
import type { Durable } from './acker.js';

/** What this replica acknowledges to `origin`. */
export function durableOf(
  { store, instance }: { readonly store: Pick<Store, 'state'>; readonly instance: string },
  { durable }: Pick<Positions, 'durable'>,
  origin: string,
): Durable {
  const state = store.state();
  const counter = counterOf(state.vector, origin);
  return { seq: durable, counter, epochSeq: newestEpoch(state).seq, instance };
}
