import type { Scope } from '../state/scope.js';
import type { Sync } from '../sync/sync.js';

interface Sample {
  readonly atMs: number;
  readonly seq: number;
}

/**
 * Out of step for less than this is no reason to leave: a lost message or a busy database passes.
 */
const LEAVE_AFTER_MS = 1000;
/**
 * Whose log is not ours must not write into it, and who is not alone must not speak for the other
 * one.
 */
const NOT_OURS = new Set(['LOG_REPLACED', 'DUPLICATE_REPLICA']);

/**
 * Keeps the in-sync set true, at every beat: this replica leaves it when it holds, stalls or misses
 * something, and returns once it has everything that the log holds; a writer takes out who is
 * silent, or behind, for longer than `inSyncLagMs`. A shortfall is alarmed and shown in the
 * registry, and is over by itself.
 */
export class InSyncKeeper {
  #samples: Sample[] = [];
  #shown = '';
  /** Monotonic; since when this replica is out of sync. */
  #outSinceMs: number | undefined;
  /** Own beats come back from the bus: the last one, and since when without a gap. */
  #heardMs = -Infinity;
  #hearingSinceMs = Infinity;

  constructor(
    private readonly scope: Scope,
    private readonly sync: Sync,
  ) {}

  get #mayWrite(): boolean {
    return this.scope.authority.current().mayWrite;
  }

  async keep(): Promise<void> {
    const { health } = this.scope;
    if (health.ended) return;
    await this.#leave();
    if (!health.replicating) return;
    await this.#join();
    if (this.#mayWrite) await this.#remove();
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

  /**
   * Who is not in step says so itself: nobody else can tell, and others would wait for it in vain.
   */
  async #leave(): Promise<void> {
    const { id, clock } = this.scope;
    const { inSync } = this.sync;
    const why = this.#outOfSync();
    if (why === undefined) this.#outSinceMs = undefined;
    else this.#outSinceMs ??= clock.monotonicMs();
    if (why === undefined || this.#outSinceMs === undefined || !inSync.has(id)) return;
    if (clock.monotonicMs() - this.#outSinceMs < LEAVE_AFTER_MS) return;
    await inSync.propose((members) => members.filter((member) => member !== id), `${id} ${why}`);
  }

  #outOfSync(): string | undefined {
    const { health } = this.scope;
    const { stalled, holding, waiting } = health;
    if (stalled !== undefined) return NOT_OURS.has(stalled.code) ? undefined : `has stalled: ${stalled.code}`;
    if (holding !== undefined) return `holds: ${holding.code}`;
    const [gap] = waiting;
    return gap && `waits for ${gap.origin}:${gap.expected}`;
  }

  async #join(): Promise<void> {
    const { id, health, positions } = this.scope;
    const { inSync } = this.sync;
    if (inSync.has(id) || positions.applied < positions.end) return;
    if (health.state !== 'following' && health.state !== 'primary') return;
    await inSync.propose((members) => [...members, id], `${id} is caught up`);
  }

  async #remove(): Promise<void> {
    const { id, limits, clock, positions } = this.scope;
    const { inSync, acker } = this.sync;
    const nowMs = clock.monotonicMs();
    const due = this.#samples.findLast(({ atMs }) => nowMs - atMs >= limits.inSyncLagMs);
    if (due !== undefined) this.#samples = this.#samples.slice(this.#samples.indexOf(due));
    this.#samples.push({ atMs: nowMs, seq: positions.passed });
    // Without NATS, or while this process stood still, everybody seems silent: that says nothing
    // about them.
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
          nowMs - lastSeenMs > limits.inSyncLagMs || (beat !== undefined && beat.appliedSeq < dueSeq),
      )
      .map(({ record }) => record.id);
  }

  /** A shortfall is told at once, and so is its end. */
  alarm(): void {
    const { health } = this.scope;
    const { inSync, needed, degraded } = this.sync;
    if (inSync.members.length >= needed) return health.clearAlarm('in-sync');
    if (inSync.seq === 0 || !this.#mayWrite) return;
    health.alarm(
      'in-sync',
      `${inSync.members.length} of the ${needed} members that must be in sync are (${inSync.members.join(', ')}): ` +
        (degraded
          ? 'writes complete without the others (degraded).'
          : 'writes that wait for others are rejected. Start the missing members.'),
    );
  }

  async #show(): Promise<void> {
    const { inSync, degraded } = this.sync;
    const shown = `${inSync.seq}/${degraded}`;
    if (!this.#mayWrite || inSync.seq === 0 || shown === this.#shown) return;
    await inSync.show(degraded);
    this.#shown = shown;
  }
}
