import type { ActorRef } from '@antiphon/actor';
import { AntiphonError, type Beat, withoutStop } from '@antiphon/core';
import { AwaitedCounters } from './awaited-counters.js';
import { isUnfounded, type Witness } from '../repair/gap-verdict.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';

/** Behind the log by more than this is no longer in step. */
const IN_STEP_MESSAGES = 1000;

/**
 * Whether this replica is in step: at the end of the log, with everything of it that is to be
 * applied. Gaps that turn out to be none are closed, and this replica hears here that others miss
 * something of its own.
 */
export class StepWatch {
  readonly #awaited: AwaitedCounters;
  #closing = false;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly onCaughtUp: () => void,
  ) {
    this.#awaited = new AwaitedCounters(scope.id);
  }

  note(): void {
    const { health, positions } = this.scope;
    const lag = positions.lagEntries;
    const complete = health.complete;
    if (lag === 0 && complete) positions.inStep();
    if (health.state === 'catching-up' && lag === 0 && complete) {
      health.handle('caught-up');
      this.onCaughtUp();
    }
    const inStep = health.state === 'following' || health.state === 'primary';
    if (inStep && (lag > IN_STEP_MESSAGES || !complete)) health.handle('fell-behind');
  }

  heard(beat: Beat): void {
    this.#awaited.heard(beat, this.scope.clock.monotonicMs());
  }

  /** At every beat. */
  async look(): Promise<void> {
    this.#alarm();
    await this.#closeUnfounded();
  }

  #alarm(): void {
    const { health, clock, id } = this.scope;
    const overdue = this.#awaited.overdue(clock.monotonicMs());
    if (overdue === undefined) return health.clearAlarm('awaited');
    const { counter, members, why } = overdue;
    const reason = why === undefined ? '' : ` (${withoutStop(why)})`;
    health.alarm(
      'awaited',
      `${members.join(', ')} did not get transaction ${id}:${counter} of this replica, or could not accept it${reason}, and nothing after it. ` +
        'See `antiphon status` and `antiphon quarantine list` there.',
    );
  }

  async #closeUnfounded(): Promise<void> {
    const { health, members, sync, id, progress } = this.scope;
    if (health.waiting.length === 0 || this.#closing) return;
    const witnesses = new Map<string, Witness>();
    for (const { beat } of members.all) if (beat !== undefined) witnesses.set(beat.id, beat);
    const inSync = sync?.inSync.members.filter((member) => member !== id);
    const unfounded = health.waiting.filter((gap) => isUnfounded(gap, witnesses, inSync));
    if (unfounded.length === 0) return;
    this.#closing = true;
    try {
      await this.replica.ask('forgetGaps', unfounded);
      progress.moved();
    } catch (error) {
      // The database is busy or full, or this replica is closing: the next beat tries again.
      if (!(error instanceof AntiphonError) || !error.retriable) throw error;
    } finally {
      this.#closing = false;
    }
  }
}
