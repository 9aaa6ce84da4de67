import { AntiphonError, sentence, soleWriter } from '@antiphon/core';
import type { ReplicaStatus } from '@antiphon/replica';
import type { ClusterClient, ReplicaRef } from './cluster-client.js';
import { askMembers } from './member-answers.js';

/** The replica that a question is for. */
export interface ChosenReplica {
  readonly id: string;
  /** Asks it. */
  readonly ref: ReplicaRef;
  /**
   * Why what it answers may be old, as a sentence: it has stalled, or holds, and so have all others
   * that answer. Absent where it was named.
   */
  readonly problem?: string;
}

/**
 * The replica that a command is for: the named one, else that of the address, else for writes
 * the one that takes them, else of those that answer the one that is least behind; one that has
 * stalled or holds only where there is no other.
 *
 * @throws AntiphonError NO_ACTOR when the named one is unknown, or none answers; ACCESS_DENIED,
 *   LOG_UNAVAILABLE
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
  const found = await candidates(client);
  const [best] = found;
  if (best === undefined) throw nobodyAnswers(client.cluster);
  const { status, problem } = best;
  const primary = purpose === 'write' ? primaryIn(found.map((one) => one.status)) : undefined;
  if (primary !== undefined) return { id: primary, ref: client.replica(primary) };
  return { id: status.id, ref: client.replica(status.id), ...(problem !== undefined && { problem }) };
}

/** As the one says that has read furthest; undefined where every member writes. */
export function primaryOf(statuses: readonly ReplicaStatus[]): string | undefined {
  const epochs = statuses.flatMap(({ epoch }) => epoch ?? []);
  const [first, ...others] = epochs;
  const newest = others.reduce((one, other) => (other.number > (one?.number ?? 0) ? other : one), first);
  return newest?.primary ?? (statuses[0] && soleWriter(statuses[0].topology));
}

/**
 * Where the primary may change, the newest one, if it answers: any other replica finds out who it
 * is.
 */
function primaryIn(found: readonly ReplicaStatus[]): string | undefined {
  const primary = primaryOf(found);
  const mayChange = found.some(({ epoch }) => epoch !== undefined);
  return !mayChange || found.some(({ id }) => id === primary) ? primary : undefined;
}

interface Candidate {
  readonly status: ReplicaStatus;
  readonly problem: string | undefined;
}

/** Those that answer, the best one first. */
async function candidates(client: ClusterClient): Promise<readonly Candidate[]> {
  const answers = await askMembers(client);
  const denied = answers.find(({ error }) => error?.code === 'ACCESS_DENIED')?.error;
  if (denied !== undefined) throw denied;
  return answers
    .flatMap(({ status }) => (status === undefined ? [] : [{ status, problem: problemOf(status) }]))
    .sort(
      (one, other) =>
        Number(one.problem !== undefined) - Number(other.problem !== undefined) ||
        one.status.lag.entries - other.status.lag.entries,
    );
}

function problemOf({ id, stalled, holding, lifecycle }: ReplicaStatus): string | undefined {
  if (stalled !== undefined) return `${id} has stalled: ${sentence(stalled.message)}`;
  if (holding !== undefined) return `${id} holds: ${sentence(holding.message)}`;
  return SERVING.has(lifecycle) ? undefined : `${id} is ${lifecycle}.`;
}

const SERVING: ReadonlySet<string> = new Set(['catching-up', 'following', 'primary']);

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
