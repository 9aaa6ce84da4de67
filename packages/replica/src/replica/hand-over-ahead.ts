import { type Replica, RunningReplica } from './replica.js';

/**
 * For what serves a replica, and lets requests end before it closes it: the others have a primary
 * meanwhile. It takes no longer than a lease, and never throws; without automatic failover, or
 * where it is not the primary, it does nothing.
 */
export async function handOverAhead(replica: Replica<unknown>): Promise<void> {
  if (replica instanceof RunningReplica) await replica.handOverAhead();
}
