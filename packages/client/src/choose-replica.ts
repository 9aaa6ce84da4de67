import { AntiphonError, sentence, soleWriter } from '@antiphon/core';
import type { ReplicaStatus } from '@antiphon/replica';
import type { ClusterClient } from './cluster-client.js';
import { askMember, askMembers, type MemberAnswer } from './member-answers.js';
import type { ReplicaRef } from './replica-ref.js';

/** What a replica has said of itself, as far as those need it who ask it for a write. */
export interface ReplicaSight {
  readonly id: string;
  readonly instance: string;
  /** Its wall clock. */
  readonly nowMs: number;
  /** As in its status: absent where the primary never changes. */
  readonly epoch?: { readonly number: number; readonly primary: string };
}

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
  /** What it said when it was chosen; absent where it was named. */
  readonly status?: ReplicaSight;
  /** Why it is not the one of the address, as sentences; absent where it is, and where none is. */
  readonly instead?: string;
}

/**
 * The replica that a command is for: the named one; else that of the address, if it answers and
 * serves; else for writes the one that takes them, else of those that answer the one that is least
 * behind; one that has stalled or holds only where there is no other.
 *
 * @throws AntiphonError NO_ACTOR when the named one is unknown, or none answers; ACCESS_DENIED,
 *   LOG_UNAVAILABLE
 */
export async function chooseReplica(
  client: ClusterClient,
  named: string | undefined,
  purpose: 'read' | 'write',
): Promise<ChosenReplica> {
  if (named !== undefined) {
    await client.requireMember(named);
    return { id: named, ref: client.replica(named) };
  }
  const preferred = client.address.replica;
  const answer = preferred === undefined ? undefined : await askMember(client, preferred);
  if (answer?.status !== undefined && serves(answer.status, purpose))
    return { id: answer.id, ref: client.replica(answer.id), status: answer.status };
  const { id, problem, status } = await bestOfAll(client, purpose);
  const why = answer === undefined || answer.id === id ? undefined : whyNot(answer);
  return {
    ...{ id, ref: client.replica(id) },
    ...(status !== undefined && { status }),
    ...(problem !== undefined && { problem }),
    ...(why !== undefined && { instead: `${why} ${id} is asked instead.` }),
  };
}

/** Any replica takes the writes of a cluster whose primary may change, and sends them to it. */
function serves(status: ReplicaStatus, purpose: 'read' | 'write'): boolean {
  if (problemOf(status) !== undefined) return false;
  if (purpose === 'read' && isDrained(status)) return false;
  return purpose === 'read' || status.epoch !== undefined || status.role !== 'replica';
}

function whyNot({ id, status, error }: MemberAnswer): string | undefined {
  if (status !== undefined) return problemOf(status) ?? (isDrained(status) ? `${id} is drained.` : undefined);
  return `${id} does not answer (${error?.code ?? 'no answer'}).`;
}

async function bestOfAll(
  client: ClusterClient,
  purpose: 'read' | 'write',
): Promise<{
  readonly id: string;
  readonly status?: ReplicaStatus | undefined;
  readonly problem?: string | undefined;
}> {
  const found = await candidates(client);
  const [best] = found;
  if (best === undefined) throw nobodyAnswers(client.cluster);
  const primary = purpose === 'write' ? primaryIn(found.map((one) => one.status)) : undefined;
  if (primary === undefined) return { id: best.status.id, ...best };
  return { id: primary, status: found.find(({ status }) => status.id === primary)?.status };
}

/** As the one says that has read furthest; undefined where every member writes. */
export function primaryOf(statuses: readonly ReplicaStatus[]): string | undefined {
  const furthest = furthestOf(statuses);
  return furthest && (furthest.epoch?.primary ?? soleWriter(furthest.topology));
}

/** The one that has read most of the log; undefined where there is none. */
export function furthestOf(statuses: readonly ReplicaStatus[]): ReplicaStatus | undefined {
  const epochOf = ({ epoch }: ReplicaStatus): number => epoch?.number ?? 0;
  return [...statuses].sort(
    (one, other) => epochOf(other) - epochOf(one) || other.position.seq - one.position.seq,
  )[0];
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
        Number(isDrained(one.status)) - Number(isDrained(other.status)) ||
        one.status.lag.entries - other.status.lag.entries,
    );
}

function problemOf({ id, stalled, holding, lifecycle }: ReplicaStatus): string | undefined {
  if (stalled !== undefined) return `${id} has stalled: ${sentence(stalled.message)}`;
  if (holding !== undefined) return `${id} holds: ${sentence(holding.message)}`;
  return SERVING.has(lifecycle) ? undefined : `${id} is ${lifecycle}.`;
}

/** A build from before says nothing of reads. */
function isDrained({ reads }: Partial<ReplicaStatus>): boolean {
  return reads?.drainedSinceMs !== undefined;
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
