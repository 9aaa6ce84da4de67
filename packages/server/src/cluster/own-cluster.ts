import { suggest } from '@antiphon/core';
import type { ReplicaRef } from '@antiphon/client';
import { type AskedCluster, replicaRef } from '@antiphon/client/internal';
import type { Replica } from '@antiphon/replica';
import { type ClusterPorts, clusterPorts } from '@antiphon/replica/internal';
import { HttpError } from '../http/http-error.js';

/** The cluster of a replica, asked over the connection that the replica has. */
export class OwnCluster implements AskedCluster {
  readonly ports: ClusterPorts;

  constructor(private readonly own: Replica<unknown>) {
    this.ports = clusterPorts(own);
  }

  get name(): string {
    return this.own.cluster;
  }

  /**
   * As far as this replica has heard of them, so that it needs no registry: this also answers while
   * NATS is away.
   */
  get ids(): readonly string[] {
    return [this.own.id, ...this.own.status().members.map(({ id }) => id)].sort();
  }

  members(): Promise<readonly { readonly id: string }[]> {
    return Promise.resolve(this.ids.map((id) => ({ id })));
  }

  /** Nothing says yet whether there is one of that id. */
  replica(id: string): ReplicaRef {
    return replicaRef(this.ports.bus, this.name, id);
  }

  /** Throws NOT_FOUND for the id of no member. */
  member(id: string): ReplicaRef {
    const { ids } = this;
    if (ids.includes(id)) return this.replica(id);
    const message = `There is no replica "${id}" in cluster ${this.name}. ${suggest(id, ids)}`;
    throw new HttpError('NOT_FOUND', message.trimEnd());
  }
}
