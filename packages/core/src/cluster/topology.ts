import { AntiphonError } from '../errors/antiphon-error.js';
import { assertReplicaId } from '../model/identifier.js';
import { checkOptions } from '../options/check-options.js';

/**
 * Which replicas take writes: all of them, or one. As in `antiphon.yaml`, in the library, and in
 * what a cluster has agreed on.
 */
export type Topology =
  | { readonly mode: 'multi-primary' }
  | {
      readonly mode: 'primary-replica';
      /** The id of the only replica that takes writes. */
      readonly primary: string;
    };

/** `peer`: one of several that write. `replica`: only follows the primary. */
export type Role = 'peer' | 'primary' | 'replica';

export const MULTI_PRIMARY: Topology = { mode: 'multi-primary' };

const TOPOLOGY = { mode: true, primary: true };
const FORMS = "{ mode: 'multi-primary' } or { mode: 'primary-replica', primary: '<replica id>' }";

/**
 * The only origin whose transactions the cluster accepts; undefined when every member may write.
 */
export function soleWriter(topology: Topology): string | undefined {
  return topology.mode === 'multi-primary' ? undefined : topology.primary;
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

/** Throws BAD_OPTION, which shows how the former form is written now. */
export function parseTopology(input: unknown): Topology {
  const former = formerTopology(input);
  if (former !== undefined)
    throw new AntiphonError('BAD_OPTION', `\`topology\` is ${shown(input)}. Write ${inCode(former)}.`);
  if (!isObject(input)) throw notValid(input);
  checkOptions(input, TOPOLOGY, 'topology');
  const { mode, primary } = input;
  if (mode === 'multi-primary' && primary === undefined) return MULTI_PRIMARY;
  if (mode !== 'primary-replica' || typeof primary !== 'string') throw notValid(input);
  assertReplicaId(primary);
  return primaryReplicaOf(primary);
}

/** Where nobody said otherwise, the replica that creates the cluster is its primary. */
export function primaryReplicaOf(primary: string): Topology {
  return { mode: 'primary-replica', primary };
}

/**
 * What `'multi-primary'` and `{ 'primary-replica': { primary } }` stand for, as topologies were
 * once written, and still are in the descriptions of clusters from that time. undefined for
 * anything else.
 */
export function formerTopology(input: unknown): Topology | undefined {
  if (input === 'multi-primary') return MULTI_PRIMARY;
  if (!isObject(input) || Object.keys(input).length !== 1 || !isObject(input['primary-replica']))
    return undefined;
  const { primary } = input['primary-replica'];
  return typeof primary === 'string' ? primaryReplicaOf(primary) : undefined;
}

function isObject(input: unknown): input is Readonly<Record<string, unknown>> {
  return typeof input === 'object' && input !== null;
}

function inCode(topology: Topology): string {
  const primary = soleWriter(topology);
  return primary === undefined
    ? "{ mode: 'multi-primary' }"
    : `{ mode: 'primary-replica', primary: ${JSON.stringify(primary).replaceAll('"', "'")} }`;
}

function shown(input: unknown): string {
  return JSON.stringify(input) ?? String(input);
}

function notValid(input: unknown): AntiphonError {
  return new AntiphonError('BAD_OPTION', `\`topology\` is ${shown(input)}. Give ${FORMS}, or leave it out.`);
}
