import type { ReplicaStatus } from '@antiphon/replica';
import type { Violations } from './violation.js';

/** How the positions of a replica stand to each other, at any moment (`state/positions.ts`). */
export function checkPositions(
  id: string,
  { sync, appliedSeq, position, log }: ReplicaStatus,
  violations: Violations,
): void {
  const order = [sync?.durableSeq ?? 0, appliedSeq, position.seq, log.lastSeq];
  if (order.every((seq, index) => index === 0 || seq >= (order[index - 1] ?? 0))) return;
  violations.add('I6', id, `durable, applied, passed and the end of the log are ${order.join(', ')}`);
}
