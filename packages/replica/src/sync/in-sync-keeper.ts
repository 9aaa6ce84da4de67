import type { Scope } from '../scope.js';
import type { Sync } from './sync.js';

interface Sample {
  readonly atMs: number;
  readonly seq: number;
}

/**
 * Keeps the in-sync set true, at every beat: this replica returns to it once it is caught up; a writer takes out who is silent, or
 * behind, for longer than `inSyncLagMs`. A shortfall is alarmed and shown in the registry, and is over by itself.
 */
export class InSyncKeeper {
  #samples: Sample[] = [];
  #shown = '';
  /** Own beats come back from the bus: the last one, and since when without a gap. */
  #heardMs = -Infinity;
  #hearingSinceMs = Infinity;

  constructor(
    private readonly scope: Scope,
    private readonly sync: Sync,
  ) {}

  async keep(): Promise<void> {
    const { condition } = this.scope;
    if (!condition.replicating) return;
    await this.#join();
    if (this.scope.writable) await this.#remove();
    this.alarm();
    await this.#show();
  }

  /** An own beat has come back. */
  heardOwn(): void {
    const nowMs = this.scope.clock.monotonicMs();
    if (this.#isDeaf(nowMs)) this.#hearingSinceMs = nowMs;
    this.#heardMs = nowMs;
  }

  #isDeaf(nowMs: number): boolean {
    const { inSyncLagMs, beatMs } = this.scope.limits;
    return nowMs - this.#heardMs > Math.max(inSyncLagMs / 2, 2 * beatMs);
  }

  async #join(): Promise<void> {
    const { id, condition, logEnd, progress } = this.scope;
    const { inSync } = this.sync;
    if (inSync.has(id) || logEnd.lagMessages(progress.seq) > 0) return;
    if (condition.state !== 'following' && condition.state !== 'primary') return;
    await inSync.propose((members) => [...members, id], `${id} is caught up`);
  }

  async #remove(): Promise<void> {
    const { id, limits, clock, progress } = this.scope;
    const { inSync, acker } = this.sync;
    const nowMs = clock.monotonicMs();
    const due = this.#samples.findLast(({ atMs }) => nowMs - atMs >= limits.inSyncLagMs);
    if (due !== undefined) this.#samples = this.#samples.slice(this.#samples.indexOf(due));
    this.#samples.push({ atMs: nowMs, seq: progress.seq });
    // Without NATS, or while this process stood still, everybody seems silent: that says nothing about them.
    if (this.#isDeaf(nowMs) || nowMs - this.#hearingSinceMs < limits.inSyncLagMs) return;
    const late = new Set([...acker.late(limits.inSyncLagMs), ...this.#behind(nowMs, due?.seq ?? 0)]);
    const leaving = [...late].filter((member) => member !== id && inSync.has(member));
    if (leaving.length === 0) return;
    const why = `${leaving.join(', ')} did not keep up for ${limits.inSyncLagMs} ms`;
    await inSync.propose((members) => members.filter((member) => !leaving.includes(member)), why);
  }

  #behind(nowMs: number, dueSeq: number): readonly string[] {
    const { members, limits } = this.scope;
    return members.all
      .filter(
        ({ beat, lastSeenMs }) =>
          nowMs - lastSeenMs > limits.inSyncLagMs || (beat !== undefined && beat.seq < dueSeq),
      )
      .map(({ record }) => record.id);
  }

  /** A shortfall is told at once, and so is its end. */
  alarm(): void {
    const { condition, writable } = this.scope;
    const { inSync, settings, degraded } = this.sync;
    if (inSync.members.length >= settings.minInSync) return condition.clearAlarm('in-sync');
    if (inSync.seq === 0 || !writable) return;
    condition.alarm(
      'in-sync',
      `${inSync.members.length} of the ${settings.minInSync} members that must be in sync are (${inSync.members.join(', ')}): ` +
        (degraded
          ? 'writes complete without the others (degraded)'
          : 'writes that wait for others are rejected'),
    );
  }

  async #show(): Promise<void> {
    const { inSync, degraded } = this.sync;
    const shown = `${inSync.seq}/${degraded}`;
    if (!this.scope.writable || inSync.seq === 0 || shown === this.#shown) return;
    await inSync.show(degraded);
    this.#shown = shown;
  }
}
