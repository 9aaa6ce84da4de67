import { AntiphonError, findMember, registerMember, sentence } from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { VERSION } from '../config/version.js';

const ALARM = 'membership';

/**
 * This replica's record in the registry. Without it, a member that starts takes this one for a
 * stranger and quarantines what it publishes. So it is looked at now and then, and at once when a
 * member says that it does not know this replica; a record that is gone is written again, and the
 * members ask for what they miss.
 */
export class OwnRecord {
  #looking = false;

  constructor(private readonly scope: Scope) {}

  /** Never rejects; without an answer it is asked again later. */
  async look(): Promise<void> {
    const { registry, id, health, logger } = this.scope;
    if (this.#looking || health.ended) return;
    this.#looking = true;
    try {
      if ((await findMember(registry, id)) === undefined) await this.#restore();
      else health.clearAlarm(ALARM);
    } catch (error) {
      const waits = error instanceof AntiphonError && error.retriable;
      if (waits) logger.debug({ err: error }, 'The record of this replica was not read.');
      else
        health.alarm(ALARM, `${this.#lost()} It could not be written again: ${sentence(messageOf(error))}`);
    } finally {
      this.#looking = false;
    }
  }

  async #restore(): Promise<void> {
    const { registry, id, instance, store, members, clock, health } = this.scope;
    health.alarm(
      ALARM,
      `${this.#lost()} It is written again, and they ask for what they miss. Find out who deletes keys of the registry.`,
    );
    const known = members.all.find(({ record }) => record.id === id)?.record;
    const joinedAtMs = known?.joinedAtMs ?? clock.nowMs();
    await registerMember(registry, { id, joinedAtMs, engine: store.engine, version: VERSION, instance });
  }

  #lost(): string {
    const { id } = this.scope;
    return `The registry has lost the record of ${id}: members that do not know it quarantine what it publishes.`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
