import type { Bus, Clock, FailoverSettings, Registry } from '@antiphon/core';
import { insideOf } from './inside.js';
import type { Replica } from './replica.js';

/** How a replica reaches the others, and what the cluster has agreed on about failover. */
export interface ClusterPorts {
  readonly bus: Bus;
  readonly registry: Registry;
  readonly clock: Clock;
  /** Absent where the cluster was created without it. */
  readonly failover?: FailoverSettings;
}

/**
 * For what asks the other members on behalf of a replica, over the connection that it has. They are
 * the replica's: nobody else closes them. Throws BAD_OPTION for what is not a replica of this
 * build.
 */
export function clusterPorts(replica: Replica<unknown>): ClusterPorts {
  const { bus, registry, clock, document } = insideOf(replica).scope;
  const { failover } = document;
  return { bus, registry, clock, ...(failover && { failover }) };
}
