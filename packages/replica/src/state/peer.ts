import type { Candidacy, Epoch, KnownEntry, StoreState, VectorClock } from '@antiphon/core';

export interface Ping {
  readonly id: string;
  readonly instance: string;
  readonly startedAtMs: number;
  readonly lifecycle: string;
}

export interface Standing {
  readonly seq: number;
  readonly generation: string;
  /** The newest entry of the log that its database knows. */
  readonly entry?: KnownEntry;
  readonly vector: VectorClock;
  readonly lastCounter: number;
  readonly publishedCounter: number;
  /** Big transactions of which it has some parts, by origin. */
  readonly partial: StoreState['partial'];
  /** Absent before the second one. */
  readonly epoch?: Epoch;
}

/** What replicas ask one another, of what their mailboxes answer. */
export interface PeerProtocol {
  ping(): Ping;
  standing(): Standing;
  candidacy(): Candidacy;
}
