import { toAntiphonError, type AntiphonError } from '@antiphon/core';
import type { ReplicaStatus } from '@antiphon/replica';
import type { ReplicaRef } from './replica-ref.js';

/** Whose members are asked: a `ClusterClient`, or a replica that asks the others. */
export interface AskedCluster {
  members(options?: { readonly fresh?: boolean }): Promise<readonly { readonly id: string }[]>;
  replica(id: string): ReplicaRef;
}

/** A member that did not answer has no status. */
export interface MemberAnswer {
  readonly id: string;
  readonly status?: ReplicaStatus;
  /** By this machine's clock. */
  readonly answeredAtMs?: number;
  readonly error?: AntiphonError;
}

const ASK_TIMEOUT_MS = 2000;

/**
 * The status of every member, in the order of their ids. Throws LOG_UNAVAILABLE, NO_ACTOR (no such
 * cluster).
 */
export async function askMembers(client: AskedCluster): Promise<readonly MemberAnswer[]> {
  const members = await client.members({ fresh: true });
  const ids = members.map(({ id }) => id).sort();
  return Promise.all(ids.map((id) => askMember(client, id)));
}

export async function askMember(client: AskedCluster, id: string): Promise<MemberAnswer> {
  try {
    const status = await client.replica(id).ask('status', undefined, { timeoutMs: ASK_TIMEOUT_MS });
    return { id, status, answeredAtMs: Date.now() };
  } catch (error) {
    return { id, error: toAntiphonError(error) };
  }
}

/**
 * For how long one that does not answer has been inside of a write, as others hear it of the thread
 * that renews its lease; undefined: nobody says so.
 */
export function writingMsOf(answers: readonly MemberAnswer[], id: string): number | undefined {
  const said = answers.flatMap(({ status }) => status?.members ?? []);
  return said.find((member) => member.id === id && member.writingMs !== undefined)?.writingMs;
}
