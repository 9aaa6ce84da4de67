import { AntiphonError, soleWriter } from '@antiphon/core';
import type { ClusterClient, ReplicaRef } from './cluster-client.js';

/** The replica that a question is for. */
export interface ChosenReplica {
  readonly id: string;
  /** Asks it. */
  readonly ref: ReplicaRef;
}

/**
 * The replica that a command is for: the named one, else that of the address, else for writes
 * the one that takes them, else the first that answers.
 *
 * @throws AntiphonError NO_ACTOR when the named one is unknown, or none answers.
 */
export async function chooseReplica(
  client: ClusterClient,
  named: string | undefined,
  purpose: 'read' | 'write',
): Promise<ChosenReplica> {
  const id = named ?? client.address.replica;
  if (id !== undefined) {
    await client.requireMember(id);
    return { id, ref: client.replica(id) };
  }
  const answering = await client.answering();
  const [first] = answering;
  if (first === undefined) throw nobodyAnswers(client.cluster);
  if (purpose === 'write') {
    const { topology } = await client.replica(first).ask('status');
    const primary = soleWriter(topology);
    if (primary !== undefined) return { id: primary, ref: client.replica(primary) };
  }
  return { id: first, ref: client.replica(first) };
}

/**
 * Who can tell what became of a write of `origin`: the origin itself if it answers, for only that
 * can decide about what the log does not hold. Throws NO_ACTOR when no replica answers.
 */
export async function witnessFor(client: ClusterClient, origin: string): Promise<string> {
  const answering = await client.answering();
  const [first] = answering;
  if (first === undefined) throw nobodyAnswers(client.cluster);
  return answering.includes(origin) ? origin : first;
}

/** A replica that answers and is another one, to remove `id`. Throws NO_ACTOR. */
export async function anotherReplica(client: ClusterClient, id: string): Promise<string> {
  const answering = await client.answering();
  const [first] = answering.filter((other) => other !== id);
  if (first !== undefined) return first;
  if (answering.length === 0) throw nobodyAnswers(client.cluster);
  throw new AntiphonError(
    'NO_ACTOR',
    `Only ${id} itself answers in cluster ${client.cluster}. Start another replica, which can remove it.`,
    { context: { cluster: client.cluster, replica: id } },
  );
}

export function nobodyAnswers(cluster: string): AntiphonError {
  const message = `No replica of cluster ${cluster} answers. Start one (\`antiphon run --config antiphon.yaml\`).`;
  return new AntiphonError('NO_ACTOR', message, { context: { cluster } });
}
