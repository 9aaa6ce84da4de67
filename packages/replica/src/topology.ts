import { AntiphonError, assertReplicaId } from '@antiphon/core';

/** Who may write. As in `antiphon.yaml`. */
export type Topology = 'multi-primary' | { readonly 'primary-replica': { readonly primary: string } };

/** `peer`: one of several that write. `replica`: only follows the primary. */
export type Role = 'peer' | 'primary' | 'replica';

/** The only origin whose transactions the cluster accepts; undefined when every member may write. */
export function soleWriter(topology: Topology): string | undefined {
  return topology === 'multi-primary' ? undefined : topology['primary-replica'].primary;
}

export function roleOf(topology: Topology, id: string): Role {
  const primary = soleWriter(topology);
  if (primary === undefined) return 'peer';
  return primary === id ? 'primary' : 'replica';
}

export function describeTopology(topology: Topology): string {
  const primary = soleWriter(topology);
  return primary === undefined ? 'multi-primary' : `primary-replica with primary ${primary}`;
}

/** Throws BAD_OPTION. */
export function parseTopology(input: unknown): Topology {
  if (input === 'multi-primary') return input;
  if (typeof input === 'object' && input !== null && 'primary-replica' in input) {
    const settings = input['primary-replica'];
    if (typeof settings === 'object' && settings !== null && 'primary' in settings) {
      const { primary } = settings;
      if (typeof primary === 'string') {
        assertReplicaId(primary);
        return { 'primary-replica': { primary } };
      }
    }
  }
  throw new AntiphonError(
    'BAD_OPTION',
    `topology is ${JSON.stringify(input)}; use 'multi-primary' or { 'primary-replica': { primary: '<replica id>' } }`,
  );
}
