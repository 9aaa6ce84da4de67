import { advance, withoutArrived } from '@antiphon/core';
import type {
  ClusterSchema,
  Gap,
  InstallOptions,
  Position,
  StoreIdentity,
  StoreState,
  VectorClock,
} from '@antiphon/core';
import type { Reading, Space } from './database-transaction.js';

export interface CounterRange {
  readonly from: number;
  readonly to: number;
}

/** What a database knows about the replica that it is. One record, replaced as a whole. */
export interface ReplicaRecord {
  readonly identity: StoreIdentity;
  readonly schema: ClusterSchema;
  readonly writes: InstallOptions['writes'];
  readonly primary: string | undefined;
  readonly rowVersions: boolean;
  readonly durable: boolean;
  readonly position: Position;
  readonly vector: VectorClock;
  readonly lastCounter: number;
  /** Own past first: own transactions after the vector's up to this one are still to come from the log. */
  readonly pastUntil: number | undefined;
  /** Own transactions that were sealed while earlier ones were still to come; the vector jumps over them. */
  readonly sealedAhead: readonly CounterRange[];
  readonly publishedCounter: number;
  readonly epoch: number;
  readonly lastTime: number;
  readonly conflicts: number;
  /** Messages that were discarded from the quarantine. */
  readonly discarded: number;
  readonly gaps: readonly Gap[];
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
  options: Pick<ReplicaRecord, 'identity' | 'schema' | 'writes' | 'primary' | 'rowVersions' | 'durable'>,
): ReplicaRecord {
  return {
    ...options,
    position: { generation: options.identity.generation, seq: 0 },
    vector: {},
    lastCounter: 0,
    pastUntil: undefined,
    sealedAhead: [],
    publishedCounter: 0,
    epoch: 0,
    lastTime: 0,
    conflicts: 0,
    discarded: 0,
    gaps: [],
  };
}

/** After an own transaction was sealed. */
export function withSealed(record: ReplicaRecord, counter: number): ReplicaRecord {
  const { vector, identity, pastUntil, sealedAhead } = record;
  if (pastUntil === undefined) {
    return { ...record, lastCounter: counter, vector: advance(vector, identity.replica, counter) };
  }
  const last = sealedAhead.at(-1);
  const ranges =
    last?.to === counter - 1
      ? [...sealedAhead.slice(0, -1), { from: last.from, to: counter }]
      : [...sealedAhead, { from: counter, to: counter }];
  return { ...record, lastCounter: counter, sealedAhead: ranges };
}

/** After a transaction came in from the log. */
export function withApplied(before: ReplicaRecord, origin: string, counter: number): ReplicaRecord {
  const record = { ...before, gaps: withoutArrived(before.gaps, origin, counter) };
  if (origin !== record.identity.replica)
    return { ...record, vector: advance(record.vector, origin, counter) };
  // Own ones come in out of the log only: as the own past, or as a synchronous group that was not committed in place.
  const lastCounter = Math.max(record.lastCounter, counter);
  const known = { ...record, lastCounter, publishedCounter: Math.max(record.publishedCounter, counter) };
  let reached = counter;
  for (const { from, to } of record.sealedAhead) if (from === reached + 1) reached = to;
  const vector = advance(record.vector, origin, reached);
  const complete = record.pastUntil === undefined || reached >= record.pastUntil;
  return complete ? { ...known, vector, pastUntil: undefined, sealedAhead: [] } : { ...known, vector };
}

/** The part of a store's state that the record holds. */
export function stateOf(
  record: ReplicaRecord,
): Omit<StoreState, 'partial' | 'outboxMessages' | 'outboxBytes' | 'quarantined' | 'quarantinedBytes'> {
  const { position, vector, lastCounter, publishedCounter, epoch, conflicts, discarded, gaps } = record;
  return { position, vector, lastCounter, publishedCounter, epoch, conflicts, discarded, gaps };
}
