import { AntiphonError } from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { inSyncNeeded } from './acker.js';
import type { Sync } from './sync.js';
import type { SyncWrite } from '../state/sync-write.js';

/** How long a write waits for replicas that are just starting before a shortfall rejects it. */
const SHORTFALL_GRACE_MS = 2000;

/** Writes of which nothing has left this process: new ones, and those that are to be run again. */
export class WriteQueue {
  #writes: SyncWrite[] = [];

  constructor(
    private readonly scope: Scope,
    private readonly sync: Sync,
  ) {}

  get length(): number {
    return this.#writes.length;
  }

  /** More than there is room for are told so. */
  take(writes: readonly SyncWrite[]): void {
    const room = Math.max(0, this.scope.limits.waitingWrites - this.#writes.length);
    for (const write of writes.slice(room)) {
      write.reject(
        new AntiphonError(
          'OVERLOADED',
          `${this.#writes.length} writes are already waiting. Slow down and call again.`,
        ),
      );
    }
    this.#writes.push(...writes.slice(0, room));
  }

  takeAll(): readonly SyncWrite[] {
    return this.#writes.splice(0);
  }

  /** They were here before, and nothing of them is anywhere. */
  putBack(writes: readonly SyncWrite[]): void {
    for (const write of writes) write.undone();
    this.#writes.unshift(...writes);
  }

  putLast(write: SyncWrite): void {
    this.#writes.push(write);
  }

  forgetSettled(): void {
    if (this.#writes.some((write) => write.settled))
      this.#writes = this.#writes.filter((write) => !write.settled);
  }

  /** What their callers are told if their time is up before anything changes. */
  waitFor(why: AntiphonError | undefined): void {
    for (const write of this.#writes) write.waits(why);
  }

  giveUp(error: AntiphonError): void {
    for (const write of this.#writes.splice(0)) write.giveUp(error);
  }

  /**
   * A group: those whose time has come, without conflicts first, since what comes after a rejected
   * one is rejected with it. But those that the last group left out come before all others: where
   * more comes in than a group takes, one with conflicts would never have its turn. As far as their
   * sizes are known, no more than fit into one message: what does not fit would run for nothing.
   */
  choose(limit: number, maxBytes: number): SyncWrite[] {
    const nowMs = this.scope.clock.monotonicMs();
    const chosen: SyncWrite[] = [];
    const rest: SyncWrite[] = [];
    let bytes = 0;
    for (const write of this.#writes) {
      // Its caller was told how it ended, while the log was asked: it must not run any more.
      if (write.settled) continue;
      const joins = chosen.length === 0 || (!write.alone && chosen[0]?.alone !== true);
      // Once one does not fit, none that came after it goes ahead of it.
      const fits = chosen.length === 0 || bytes + write.knownBytes <= maxBytes;
      const ready =
        joins && fits && chosen.length < limit && write.notBeforeMs <= nowMs && this.#admits(write);
      bytes = fits ? bytes : Infinity;
      if (ready) bytes += write.knownBytes;
      if (ready) chosen.push(write);
      else if (!write.settled) rest.push(write);
    }
    this.#writes = rest;
    if (chosen.some(({ conflicts }) => conflicts > 0)) chosen.sort((a, b) => rankOf(a) - rankOf(b));
    return chosen;
  }

  /**
   * Too few in sync for what it asks: it waits a little, then it is rejected, unless the cluster
   * degrades.
   */
  #admits(write: SyncWrite): boolean {
    const { settings, inSync } = this.sync;
    const { acks } = write;
    if (settings.onShortfall === 'degrade' || !waitsForOthers(write)) return true;
    const wanted = inSyncNeeded(acks, settings.minInSync, inSync.known.length);
    if (inSync.members.length >= wanted) return true;
    const missing = inSync.known.filter((id) => !inSync.members.includes(id));
    const error = new AntiphonError(
      'NOT_IN_SYNC',
      `\`acks: ${acks}\` needs ${wanted} members in sync, and these are: ${inSync.members.join(', ') || 'none'}. ` +
        (missing.length === 0
          ? 'Nothing was written. Start more replicas.'
          : `Nothing was written. Start ${missing.join(', ')}, or remove those that are gone for good ` +
            'with `antiphon member remove ID`.'),
      { context: { inSync: inSync.members, needed: wanted } },
    );
    if (write.ageMs < SHORTFALL_GRACE_MS) write.waits(error);
    else write.reject(error);
    return false;
  }
}

function rankOf({ leftOut, conflicts }: SyncWrite): number {
  return leftOut ? -1 : conflicts;
}

/** Whether other databases than the writer's own must have it. */
export function waitsForOthers({ acks }: SyncWrite): boolean {
  return acks !== 'local' && acks !== 'logged' && acks !== 1;
}
