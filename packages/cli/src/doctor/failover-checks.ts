import { type CandidacyAnswer, primaryIn, rankedCandidates } from '@antiphon/client/internal';
import type { ClusterDocument } from '@antiphon/core';
import { ok, warn, type Check } from './check.js';

/**
 * Where replicas take over by themselves: would one, if the primary failed now? Nobody notices that
 * none would before it is needed.
 */
export function failoverChecks(
  answers: readonly CandidacyAnswer[],
  { failover, update }: Pick<ClusterDocument, 'failover' | 'update'>,
): readonly Check[] {
  const primary = primaryIn(answers);
  if (failover?.mode !== 'automatic' || primary === undefined) return [];
  const [first] = rankedCandidates(answers, primary, update.mode === 'sync').filter(
    ({ place }) => place === 1,
  );
  return [
    first === undefined
      ? warn(
          'failover',
          `No replica would take over by itself if ${primary} failed now.`,
          'See why with `antiphon explain-candidate`.',
        )
      : ok('failover', `failover: ${first.id} would take over from ${primary}`),
  ];
}
