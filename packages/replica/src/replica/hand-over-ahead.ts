import { handOverAhead as handOver } from '../failover/hand-over.js';
import { insideOf } from './inside.js';
import type { Replica } from './replica.js';

/**
 * For what serves a replica to programs elsewhere, before it lets their reads end: another replica
 * becomes the primary where one can. What does not come about is taken back. Throws BAD_OPTION for
 * what is not a replica of this build.
 */
export async function handOverAhead(replica: Replica<unknown>): Promise<void> {
  const { scope, replica: actor } = insideOf(replica);
  await handOver(scope, actor);
}
