import { counterOf } from '@antiphon/core';
import type { Waiting } from '../config/standstill.js';
import type { Scope } from './scope.js';

/**
 * Transactions that are missing here and that other replicas may have: the log may hold them, or a
 * member has said that it has applied them. Its origin has what it wrote in any case.
 */
export function missingOf({
  health,
  members,
  id,
}: Pick<Scope, 'health' | 'members' | 'id'>): readonly Waiting[] {
  const isElsewhere = ({ origin, expected }: Waiting): boolean =>
    members.all.some(
      ({ record, beat }) =>
        record.id !== id &&
        record.id !== origin &&
        beat !== undefined &&
        counterOf(beat.vector, origin) >= expected,
    );
  return health.waiting.filter((waiting) => waiting.absent !== true || isElsewhere(waiting));
}
