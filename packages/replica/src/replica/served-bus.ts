import type { Bus, Role } from '@antiphon/core';
import type { LifecycleState } from '../config/lifecycle.js';
import { roleOf } from '../state/authority.js';
import type { TracedCluster } from '../tracing/spans.js';
import { insideOf } from './inside.js';
import type { Replica } from './replica.js';
import { lifecycleOf } from './status.js';

/** Which requests of programs elsewhere a replica should get. */
export interface Takes {
  readonly reads: boolean;
  readonly writes: boolean;
}

/** What serves a replica to programs elsewhere over the connection that it has. */
export interface ServedBus {
  readonly bus: Bus;
  /** What spans are about that are made here for it. */
  readonly traced: TracedCluster;
  /** As it is now. */
  readonly takes: Takes;
  /** Called when `takes` may be another, and sometimes when it is not. Returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** Throws BAD_OPTION for what is not a replica of this build. */
export function servedBus(replica: Replica<unknown>): ServedBus {
  const { scope } = insideOf(replica);
  const { bus, health, serving, authority } = scope;
  return {
    bus,
    traced: scope,
    get takes() {
      const [lifecycle, role] = [lifecycleOf(scope), roleOf(authority)];
      return takesOf({ lifecycle, role, hasFailover: authority.byTerm, isDrained: serving.isDrained });
    },
    onChange: (listener) => {
      const sources = [health, serving, authority];
      const stops = sources.map((source) => source.onChange(listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

interface Standing {
  readonly lifecycle: LifecycleState;
  readonly role: Role;
  /** Any replica sends a write on to the primary. */
  readonly hasFailover: boolean;
  readonly isDrained: boolean;
}

const IN_STEP: ReadonlySet<LifecycleState> = new Set(['following', 'primary']);
const NOT_RUNNING: ReadonlySet<LifecycleState> = new Set([
  ...(['joining', 'bootstrapping', 'failed', 'closing', 'closed'] as const),
]);

/**
 * One that is behind or cannot go on leaves reads to others. The only one that writes is asked
 * whatever is in its way: its answer says what that is.
 */
export function takesOf({ lifecycle, role, hasFailover, isDrained }: Standing): Takes {
  const isRunning = !NOT_RUNNING.has(lifecycle);
  const sendsOn = hasFailover && lifecycle !== 'stalled';
  return {
    reads: IN_STEP.has(lifecycle) && !isDrained,
    writes: isRunning && (role !== 'replica' || sendsOn),
  };
}
