import type { Position } from '@antiphon/core';
import type { ReplicaRecord } from './replica-record.js';

/** What happened to `markPublished` that is not in the database yet. */
export interface PublishedMark {
  readonly counter: number;
  readonly position: Position | undefined;
}

export function withMark(record: ReplicaRecord, mark: PublishedMark | undefined): ReplicaRecord {
  if (mark === undefined) return record;
  return {
    ...record,
    publishedCounter: Math.max(record.publishedCounter, mark.counter),
    position: laterOf(record.position, mark.position) ?? record.position,
  };
}

export function laterOf(a: Position | undefined, b: Position | undefined): Position | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.generation === b.generation && b.seq > a.seq ? b : a;
}
