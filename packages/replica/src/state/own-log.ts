import { type AdmissionState, counterOf, type StoreState } from '@antiphon/core';
import { appendsAlone, type Authority } from './authority.js';

/**
 * What the log had of our own transactions, in order, up to the position: the two are stored
 * together. (Builds before 0.1.0 stored `publishedCounter` ahead of what they applied.) Without the
 * parts that the position may have passed: only reading tells those.
 */
export function ownLogState(id: string, state: StoreState): AdmissionState {
  return { vector: { [id]: Math.min(state.publishedCounter, counterOf(state.vector, id)) }, partial: {} };
}

/**
 * The same with the parts, as it was read: what the others have admitted of our messages. Outlives
 * a restart of the replica actor, as the position does.
 */
export class OwnLog {
  constructor(private read: AdmissionState) {}

  /** What was published by a chain, and groups that were committed in place, were not read. */
  at(state: StoreState, scope: { id: string; authority: Authority; sync: unknown }): AdmissionState {
    const { id, sync } = scope;
    // A primary that was deposed sent a chain until then.
    if (sync === undefined && !scope.authority.byTerm && !appendsAlone(scope)) return this.read;
    const known = ownLogState(id, state);
    return counterOf(this.read.vector, id) >= counterOf(known.vector, id) ? this.read : known;
  }

  /** Up to the position. */
  wasRead(state: AdmissionState): void {
    this.read = state;
  }
}
