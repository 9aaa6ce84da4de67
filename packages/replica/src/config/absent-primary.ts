import type { ClusterDocument } from '@antiphon/core';

/** Nobody listens in the name of the primary: what to do depends on who may take its place. */
export function absentPrimary(primary: string, { failover }: Pick<ClusterDocument, 'failover'>): string {
  const hint =
    failover?.mode === 'automatic'
      ? 'Another replica takes its place as soon as one can: see `antiphon explain-candidate`.'
      : 'Start it again, or make another replica the primary with `antiphon failover ID`.';
  return `The primary ${primary} does not answer. ${hint}`;
}
