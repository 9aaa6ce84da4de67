import type { Scope } from '../state/scope.js';
import type { Freshness } from './freshness.js';
import type { ReadBarrier } from './barrier.js';
import type { Sync } from './sync.js';

/** What the actors of one replica share, with all of the synchronous side. */
export interface ReplicaScope extends Scope {
  readonly sync: Sync | undefined;
  /** For strong reads. */
  readonly barrier: ReadBarrier;
  /** For bounded reads. */
  readonly freshness: Freshness;
}
