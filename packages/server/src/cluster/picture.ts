import { primaryOf } from '@antiphon/client/internal';
import { type AntiphonError, toAntiphonError } from '@antiphon/core';
import type { Replica, ReplicaStatus } from '@antiphon/replica';
import type { OwnCluster } from './own-cluster.js';

/** A member at one moment: what it says of itself, or why it says nothing. */
export interface MemberPicture {
  readonly id: string;
  readonly status?: ReplicaStatus;
  /** How long its answer took; 0 of the replica that asks. */
  readonly tookMs?: number;
  readonly error?: Pick<AntiphonError, 'code' | 'message'>;
}

/** A whole cluster at one moment, as one of its replicas sees it. */
export interface ClusterPicture {
  readonly cluster: string;
  /** The replica that has asked the others. */
  readonly seenBy: string;
  readonly atMs: number;
  /** As the one says that has read furthest; absent where every member writes. */
  readonly primary?: string;
  /** Absent where the cluster was created without failover. */
  readonly failover?: { readonly mode: string; readonly leaseMs: number };
  readonly members: readonly MemberPicture[];
}

/** One that runs answers within milliseconds; on a machine that is busy, within a second. */
const ASK_MS = 1500;

/** Asks every member, and the replica itself without NATS. Never rejects. */
export async function pictureOf(replica: Replica<unknown>, cluster: OwnCluster): Promise<ClusterPicture> {
  const members = await Promise.all(cluster.ids.map((id) => memberPicture(replica, cluster, id)));
  const primary = primaryOf(members.flatMap(({ status }) => status ?? []));
  const { failover, clock } = cluster.ports;
  return {
    ...{ cluster: cluster.name, seenBy: replica.id, atMs: clock.nowMs() },
    ...(primary !== undefined && { primary }),
    ...(failover && { failover: { mode: failover.mode, leaseMs: failover.leaseMs } }),
    members,
  };
}

async function memberPicture(
  replica: Replica<unknown>,
  cluster: OwnCluster,
  id: string,
): Promise<MemberPicture> {
  if (id === replica.id) return { id, status: replica.status(), tookMs: 0 };
  const { clock } = cluster.ports;
  const askedMs = clock.monotonicMs();
  try {
    const status = await cluster.replica(id).ask('status', undefined, { timeoutMs: ASK_MS });
    return { id, status, tookMs: clock.monotonicMs() - askedMs };
  } catch (thrown) {
    const { code, message } = toAntiphonError(thrown);
    return { id, error: { code, message } };
  }
}
