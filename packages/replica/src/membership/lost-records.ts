import { AntiphonError, type MemberRecord, restoreRecord, sentence } from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { VERSION } from '../config/version.js';

const ALARM = 'records';

/**
 * Records of members that the registry has lost, and that do not run to write them again. Without
 * it, a replica that joins takes what such a member wrote for a stranger's.
 */
export class LostRecords {
  #looking = false;

  constructor(private readonly scope: Scope) {}

  /** With what the registry has now. Never rejects; what is not written is tried again later. */
  async look(present: readonly MemberRecord[]): Promise<void> {
    const { health, logger } = this.scope;
    if (this.#looking || health.ended) return;
    this.#looking = true;
    try {
      const lost = this.#missing(present);
      if (lost.length === 0) health.clearAlarm(ALARM);
      for (const record of lost) await this.#restore(record);
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (!error.retriable)
        health.alarm(
          ALARM,
          `The records of members that the registry has lost could not be written again: ${sentence(error.message)}`,
        );
      else logger.debug({ err: error }, 'A record was not written again.');
    } finally {
      this.#looking = false;
    }
  }

  async #restore(record: MemberRecord): Promise<void> {
    const { registry, health } = this.scope;
    if (!(await restoreRecord(registry, record))) return;
    health.alarm(
      ALARM,
      `The registry had lost the record of ${record.id}, which is not running. The record was written again. Find out who deletes keys of the registry.`,
    );
  }

  /** Who runs writes its own. */
  #missing(present: readonly MemberRecord[]): readonly MemberRecord[] {
    const { members, progress, id } = this.scope;
    const there = new Set([id, ...present.map((record) => record.id)]);
    for (const { record, beat } of members.all) if (beat !== undefined) there.add(record.id);
    const known = members.known.filter((record) => !there.has(record.id));
    for (const record of known) there.add(record.id);
    const written = Object.keys(progress.vector).filter((origin) => !there.has(origin));
    return [...known, ...written.map((origin) => this.#recordOf(origin))];
  }

  /**
   * Of one that nothing is known of but what it wrote. Where writes are synchronous, the log knows
   * of everybody who was in sync and was not removed since; elsewhere it counts as stopped, so that
   * somebody looks after it.
   */
  #recordOf(id: string): MemberRecord {
    const { clock, store, sync } = this.scope;
    const nowMs = clock.nowMs();
    const known = sync?.inSync.known ?? [];
    const wasRemoved = known.length > 0 && !known.includes(id);
    return {
      ...{ id, joinedAtMs: nowMs, engine: store.engine, version: VERSION, instance: 'unknown' },
      ...(wasRemoved && { removedAtMs: nowMs }),
    };
  }
}
