import {
  type Clock,
  type KeeperEvent,
  keeperEventOf,
  type KeeperState,
  keeperStep,
  keeperTakenOver,
  keeperTask,
  type Lease,
  type LeaseRecord,
  type LeaseStanding,
  type Timer,
} from '@antiphon/core';

/** What the holder knows, and for the how many-eth time it says so. */
export interface Told {
  readonly turn: number;
  /** Undefined: it does not want a lease renewed. */
  readonly standing: LeaseStanding | undefined;
}

/** What has become of the state that was told in that turn. */
export interface Made {
  readonly turn: number;
  readonly state: KeeperState;
}

interface Deps {
  readonly lease: Pick<Lease, 'take' | 'read'>;
  readonly limitMs: number;
  /** With the holder's monotonic time. */
  readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>;
  /** A write may keep the holder's thread. */
  readonly isBusy: () => boolean;
  readonly report: (made: Made) => void;
}

/** Of `renewMs`: by so much the holder is late before somebody else acts for it. */
const LATE_SHARE = 1 / 2;
/** Of `renewMs`: while a late holder has no write, which would excuse it. */
const LOOK_SHARE = 1 / 4;

/** Goes on with a lease from where its holder was when it fell silent, as the holder would. */
export class StandingIn {
  #told: Told = { turn: 0, standing: undefined };
  #toldAtMs = -Infinity;
  /** Undefined while the holder does it itself. */
  #state: KeeperState | undefined;
  #timer: Timer | undefined;
  /** Of what was taken here, and not by the holder. */
  #madeUntilMs = -Infinity;
  #sentN = 0;
  /** The holder has renewed it itself since somebody stood in last. */
  #isProven = true;

  constructor(private readonly deps: Deps) {}

  tell(told: Told): void {
    this.#timer?.cancel();
    this.#told = told;
    this.#state = undefined;
    this.#toldAtMs = this.#nowMs;
    const { state, isReconnected = false } = told.standing ?? {};
    if (state === undefined) return this.#forget();
    if (state.standing === 'lost') return;
    const { notBeforeMs, settings, validUntilMs } = state;
    // It tries as soon as it has its thread back. Kept again before that, it has shown nothing yet;
    // nor when it only began to read, which leaves no trace here, or has another connection now.
    const hasTried = !isReconnected && (state.underWay || state.n > this.#sentN + 1);
    this.#isProven = validUntilMs > this.#madeUntilMs || !hasTried;
    this.#lookAt(Math.max(notBeforeMs, this.#toldAtMs) + settings.renewMs * LATE_SHARE);
  }

  /** The next lease of this holder begins with numbers of its own. */
  #forget(): void {
    this.#madeUntilMs = -Infinity;
    this.#sentN = 0;
    this.#isProven = true;
  }

  get #nowMs(): number {
    return this.deps.clock.monotonicMs();
  }

  #lookAt(atMs: number): void {
    this.#timer = this.deps.clock.setTimer(Math.max(1, atMs - this.#nowMs), () => this.#look());
  }

  #look(): void {
    const { standing } = this.#told;
    if (standing === undefined || this.#nowMs - this.#toldAtMs > this.deps.limitMs) return;
    const { record, state } = standing;
    if (!this.deps.isBusy()) return this.#lookAt(this.#nowMs + state.settings.renewMs * LOOK_SHARE);
    this.#state ??= keeperTakenOver(state);
    if (!this.#isProven) return void this.#prove();
    const task = keeperTask(this.#state, this.#nowMs);
    const writingMs = Math.round(this.#nowMs - this.#toldAtMs);
    if (task.type === 'renew') void this.#renew({ ...record, n: task.n, writingMs }, task.expectedSeq);
    else if (task.type === 'read') void this.#readOn();
    else if (task.type === 'wait' && task.untilMs < Infinity) this.#lookAt(task.untilMs);
  }

  async #renew(record: LeaseRecord, expectedSeq: number): Promise<void> {
    const { n } = record;
    const { turn } = this.#told;
    this.#sentN = n;
    this.#step(turn, { type: 'sent', atMs: this.#nowMs });
    const take = await this.deps.lease.take(record, expectedSeq);
    this.#step(turn, keeperEventOf(take, n, this.#nowMs));
    this.#goOn(turn);
  }

  /**
   * A holder that has turns and cannot renew it has lost its own connection: nothing that it writes
   * gets anywhere. What it has sent since, with writes in between, may have arrived all the same.
   */
  async #prove(): Promise<void> {
    const { turn } = this.#told;
    const event = await this.#read();
    this.#step(turn, event);
    const { n = 0 } = (event.type === 'read' && event.entry.record) || {};
    if (this.#isOver(turn)) return;
    this.#isProven = n > this.#sentN;
    if (this.#isProven) return this.#goOn(turn);
    const { standing, settings } = this.#state ?? {};
    // It may still arrive.
    if (standing !== 'lost' && settings) this.#lookAt(this.#nowMs + settings.renewMs * LOOK_SHARE);
  }

  async #readOn(): Promise<void> {
    const { turn } = this.#told;
    this.#step(turn, await this.#read());
    this.#goOn(turn);
  }

  #read(): Promise<KeeperEvent> {
    return this.deps.lease.read().then(
      (entry): KeeperEvent => ({ type: 'read', entry, atMs: this.#nowMs }),
      (): KeeperEvent => ({ type: 'unread', atMs: this.#nowMs }),
    );
  }

  /** The holder has spoken meanwhile: it finds out itself what became of it. */
  #isOver(turn: number): boolean {
    return this.#state === undefined || turn !== this.#told.turn;
  }

  #step(turn: number, event: KeeperEvent): void {
    if (this.#isOver(turn) || this.#state === undefined) return;
    this.#state = keeperStep(this.#state, event);
    if (this.#isProven) this.#madeUntilMs = this.#state.validUntilMs;
    this.deps.report({ turn, state: this.#state });
  }

  #goOn(turn: number): void {
    if (!this.#isOver(turn)) this.#look();
  }
}
