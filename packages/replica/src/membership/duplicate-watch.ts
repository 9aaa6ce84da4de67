import type { ActorRef } from '@antiphon/actor';
import { AntiphonError, findMember } from '@antiphon/core';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';

const SILENCE_BEATS = 5;
const ALARM = 'duplicate';

/**
 * Another process runs under this replica's id: one of the two was paused, or cut off, while the
 * other started, and did not answer its ping. The one that has the database file goes on, and of
 * two that have a file each, the one that the registry knows: it started last. The other ends. Both
 * come to the same answer, whenever each of them asks.
 */
export class DuplicateWatch {
  /** Monotonic. */
  #heardMs = -Infinity;
  #asking = false;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {}

  /** A beat of this id that is not ours. */
  heard(): void {
    const { health, clock, logger, id } = this.scope;
    this.#heardMs = clock.monotonicMs();
    if (this.#asking || health.ended) return;
    this.#asking = true;
    this.#decide()
      .catch((error: unknown) => {
        // Asked again at its next beat.
        const retriable = error instanceof AntiphonError && error.retriable;
        if (!retriable)
          logger.warn({ err: error }, `It is not known which of two processes is replica ${id}.`);
      })
      .finally(() => (this.#asking = false));
  }

  /** Only its silence says that it is gone. */
  look(): void {
    const { health, clock, limits } = this.scope;
    if (clock.monotonicMs() - this.#heardMs > SILENCE_BEATS * limits.beatMs) health.clearAlarm(ALARM);
  }

  async #decide(): Promise<void> {
    const { registry, id, instance, health, cluster } = this.scope;
    // Ends the replica by itself when another process has opened the file since.
    await this.replica.ask('check');
    if (health.ended) return;
    const record = await findMember(registry, id);
    if (record === undefined || record.instance === instance) {
      health.alarm(
        ALARM,
        `Another process runs as ${id} too. This one has the database file and the registry's record; the other one ends, or must be stopped.`,
      );
      return;
    }
    health.stall(
      new AntiphonError(
        'DUPLICATE_REPLICA',
        `Another process was started as ${id} while this one did not answer, and now has its place in cluster ${cluster}. ` +
          'Stop one of them, or choose another id.',
        { context: { cluster, replica: id } },
      ),
    );
  }
}
