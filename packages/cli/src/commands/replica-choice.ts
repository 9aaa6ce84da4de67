import { AntiphonError } from '@antiphon/core';
import type { ClusterClient, ReplicaRef } from '../cluster/cluster-client.js';

export interface ChosenReplica {
  readonly id: string;
  readonly ref: ReplicaRef;
}

/**
 * The replica that a command is for: the named one, else the one of the configuration file, else for writes
 * the one that takes them, else the first that answers.
 *
 * @throws AntiphonError NO_ACTOR when the named one is unknown, or none answers.
 */
export async function chooseReplica(
  client: ClusterClient,
  named: string | undefined,
  purpose: 'read' | 'write',
): Promise<ChosenReplica> {
  const id = named ?? client.target.replica;
  if (id !== undefined) {
    await client.requireMember(id);
    return { id, ref: client.replica(id) };
  }
  const answering = await client.answering();
  const [first] = answering;
  if (first === undefined) throw nobodyAnswers(client.cluster);
  if (purpose === 'write') {
    const { topology } = await client.replica(first).ask('status');
    const primary = topology === 'multi-primary' ? undefined : topology['primary-replica'].primary;
    if (primary !== undefined) return { id: primary, ref: client.replica(primary) };
  }
  return { id: first, ref: client.replica(first) };
}

export function nobodyAnswers(cluster: string): AntiphonError {
  const message = `No replica of cluster ${cluster} answers; start one (\`antiphon run --config antiphon.yaml\`).`;
  return new AntiphonError('NO_ACTOR', message, { context: { cluster } });
}
