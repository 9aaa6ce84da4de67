import type { CircuitPhase } from './circuit.js';

/** A replica as a load balancer sees it at one moment. */
export interface ReplicaView {
  readonly id: string;
  /** How many reads it should get, compared with the others. Above 0. */
  readonly weight: number;
  readonly zone?: string;
  readonly isPrimary: boolean;
  /** As it last said; undefined before anything was heard of it. */
  readonly lifecycle?: string;
  /** An operator takes it out of service: it gets no new reads. */
  readonly isDrained: boolean;
  /** Since it was last heard, in milliseconds; Infinity before. */
  readonly silentMs: number;
  /** How far it is behind the log, as it last said. */
  readonly lagEntries: number;
  readonly lagMs: number;
  /** Reads of this client that it has not answered yet. */
  readonly outstanding: number;
  /** A moving average, in milliseconds; undefined before the first answer. */
  readonly roundTripMs?: number;
  readonly circuit: CircuitPhase;
}
