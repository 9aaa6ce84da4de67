import type { ClusterSchema, Position, StoreIdentity, StoreState, VectorClock } from '@antiphon/core';
import type { Reading, Space } from './database-transaction.js';

/** What a database knows about the replica that it is. One record, replaced as a whole. */
export interface ReplicaRecord {
  readonly identity: StoreIdentity;
  readonly schema: ClusterSchema;
  readonly writes: 'capture' | 'refuse';
  readonly primary: string | undefined;
  readonly rowVersions: boolean;
  readonly position: Position;
  readonly vector: VectorClock;
  readonly lastCounter: number;
  /** Own past first: own transactions after the vector's up to this one are still to come from the log. */
  readonly pastUntil: number | undefined;
  readonly publishedCounter: number;
  readonly epoch: number;
  readonly lastTime: number;
  readonly conflicts: number;
}

const RECORD: Space<ReplicaRecord> = { name: 'replica' };
const KEY = 'record';

interface WritingRecord extends Reading {
  put<T>(space: Space<T>, key: string, value: T): void;
}

export function readRecord(reading: Reading): ReplicaRecord | undefined {
  return reading.get(RECORD, KEY);
}

export function writeRecord(transaction: WritingRecord, record: ReplicaRecord): void {
  transaction.put(RECORD, KEY, record);
}

export function newRecord(
  options: Pick<ReplicaRecord, 'identity' | 'schema' | 'writes' | 'primary' | 'rowVersions'>,
): ReplicaRecord {
  return {
    ...options,
    position: { generation: options.identity.generation, seq: 0 },
    vector: {},
    lastCounter: 0,
    pastUntil: undefined,
    publishedCounter: 0,
    epoch: 0,
    lastTime: 0,
    conflicts: 0,
  };
}

/** The part of a store's state that the record holds. */
export function stateOf(
  record: ReplicaRecord,
): Omit<StoreState, 'partial' | 'outboxMessages' | 'outboxBytes' | 'quarantined'> {
  const { position, vector, lastCounter, publishedCounter, epoch, conflicts } = record;
  return { position, vector, lastCounter, publishedCounter, epoch, conflicts };
}
