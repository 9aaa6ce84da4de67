import type { Bus, Lease, Log, Publication, PublishSettings, Registry } from '@antiphon/core';

/**
 * `nats`: a nats-server of its own, as a child process. `memory`: adapters in memory, in this
 * process.
 */
export type BrokerKind = 'nats' | 'memory';

/** What one replica talks to the others through. */
export interface BrokerConnection {
  readonly log: Log;
  readonly bus: Bus;
  readonly registry: Registry;
  /** Of the primary, in a cluster that elects it. */
  readonly lease: Lease;
  /** Where it was asked for. */
  readonly publication?: Publication;
  /** Nothing more is sent or received through it. Idempotent. */
  close(): Promise<void>;
}

/** What carries the log of a test cluster. It can go away and come back. */
export interface Broker {
  readonly kind: BrokerKind;
  /** Where a client can connect; undefined for one in memory. */
  readonly url: string | undefined;
  /** Replicas lose their connection, and keep trying. The log is kept. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** `publish`: with the stream that changes are published to; only `nats` has one. */
  connect(cluster: string, publish?: PublishSettings): Promise<BrokerConnection>;
  /** Ends it for good. Idempotent. */
  close(): Promise<void>;
}
