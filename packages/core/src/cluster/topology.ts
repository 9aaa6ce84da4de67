import { AntiphonError } from '../errors/antiphon-error.js';
import { assertReplicaId } from '../model/identifier.js';

/** Who may write, as in `antiphon.yaml` and in what a cluster has agreed on. */
export type Topology = 'multi-primary' | { readonly 'primary-replica': { readonly primary: string } };

/** Another way to write the same. */
export type TopologyOptions =
  | Topology
  | { readonly mode: 'multi-primary' }
  | { readonly mode: 'primary-replica'; readonly primary: string };

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
  if (isObject(input) && Object.keys(input).every((key) => key === 'mode' || key === 'primary')) {
    if (input['mode'] === 'multi-primary' && !('primary' in input)) return 'multi-primary';
    if (input['mode'] === 'primary-replica') return primaryReplica(input, input);
  }
  if (isObject(input) && isObject(input['primary-replica']) && Object.keys(input).length === 1)
    return primaryReplica(input['primary-replica'], input);
  throw notValid(input);
}

/** Where nobody said otherwise, the replica that founds the cluster is its primary. */
export function primaryReplicaOf(primary: string): Topology {
  return { 'primary-replica': { primary } };
}

function primaryReplica({ primary }: Readonly<Record<string, unknown>>, input: unknown): Topology {
  if (typeof primary !== 'string') throw notValid(input);
  assertReplicaId(primary);
  return primaryReplicaOf(primary);
}

function isObject(input: unknown): input is Readonly<Record<string, unknown>> {
  return typeof input === 'object' && input !== null;
}

function notValid(input: unknown): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `topology is ${JSON.stringify(input)}. Give 'multi-primary' or { 'primary-replica': { primary: '<replica id>' } }, or leave it out.`,
  );
}
