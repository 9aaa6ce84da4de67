import type { Behaviour, Context } from '@antiphon/actor';
import {
  isLeaseValid,
  keeperOf,
  type KeeperEvent,
  keeperEventOf,
  type KeeperState,
  keeperStep,
  keeperTask,
  keeperTakenOver,
  type Lease,
  type LeaseEntry,
  type LeaseRecord,
  newestEpoch,
  type Timer,
  toAntiphonError,
} from '@antiphon/core';
import type { LeaseKeeperProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import { whyUnfit } from '../state/unfit.js';
import { retryDelayMs } from '../wait/deadline.js';

export const LEASE_ALARM = 'lease';

/**
 * Keeps the lease of the primary while it is the primary: takes it, renews it, and says until when
 * it may be relied on. One of an older epoch than the log's, and one of an earlier process of the
 * same replica, hold nobody back. While a write keeps this thread, another one stands in.
 */
export class LeaseKeeper implements Behaviour<LeaseKeeperProtocol> {
  readonly receive = {
    begin: (_: undefined, context: Context<LeaseKeeperProtocol>): Promise<void> => this.#begin(context),
    go: (_: undefined, context: Context<LeaseKeeperProtocol>): Promise<void> => this.#go(context),
    answered: (event: KeeperEvent, context: Context<LeaseKeeperProtocol>): Promise<void> => {
      this.#takeBack();
      this.#step(event);
      return this.#go(context);
    },
  };
  readonly #epoch: number;
  #state: KeeperState | undefined;
  /** Somebody goes on with it, as far as this thread knows. */
  #isStoodIn = false;
  /** Nothing was sent yet over the connection that there is now. */
  #isReconnected = false;
  #stopListening: () => void = () => undefined;
  #timer: Timer | undefined;
  /** Of what is held. */
  #expiry: Timer | undefined;
  #failures = 0;
  /** Whose lease is in the way, and since when nobody has renewed it. */
  #inTheWay: { readonly entry: LeaseEntry; readonly sinceMs: number } | undefined;
  /** Since when others have had it, one after the other. */
  #takenSinceMs: number | undefined;

  constructor(
    private readonly scope: Scope,
    private readonly lease: Lease,
  ) {
    this.#epoch = newestEpoch(scope.store.state()).number;
  }

  started(context: Context<LeaseKeeperProtocol>): void {
    const { held, log } = this.scope;
    held.begin();
    this.#stopListening = log.onConnection((connection) => {
      if (connection === 'connected') this.#reconnected(context);
    });
    held.renewedBy(() => {
      this.#absorb();
      return this.#validUntilMs;
    });
    context.self.tell('begin');
  }

  stopped(): void {
    const { held, health, standIn } = this.scope;
    this.#stopListening();
    this.#timer?.cancel();
    this.#expiry?.cancel();
    standIn?.tell(undefined);
    held.renewedBy(() => -Infinity);
    held.set(-Infinity);
    health.clearAlarm(LEASE_ALARM);
  }

  /** What somebody has made of it while this thread was kept. */
  #absorb(): void {
    const newest = this.scope.standIn?.newest();
    if (newest === undefined) return;
    this.#state = keeperTakenOver(newest);
    this.#isStoodIn = true;
  }

  /** This thread has turns again, and goes on itself: whether it can, only that shows. */
  #takeBack(): void {
    this.#absorb();
    if (this.#isStoodIn) this.#goOnItself();
  }

  /** A write that has waited for the connection may keep this thread again before its next turn. */
  #reconnected(context: Context<LeaseKeeperProtocol>): void {
    this.#isReconnected = true;
    this.#absorb();
    this.#goOnItself();
    context.self.tell('go');
  }

  #goOnItself(): void {
    if (this.#state !== undefined) this.#state = { ...this.#state, notBeforeMs: -Infinity };
    this.#share();
  }

  #share(): void {
    const { held, standIn } = this.scope;
    this.#isStoodIn = false;
    const state = held.isForfeited ? undefined : this.#state;
    const isReconnected = this.#isReconnected;
    standIn?.tell(state && { record: this.#record(state.n), state, isReconnected });
  }

  #record(n: number): LeaseRecord {
    const { id: holder, instance } = this.scope;
    return { epoch: this.#epoch, holder, instance, leaseMs: this.#settings.leaseMs, n };
  }

  /** -Infinity: it is not held. */
  get #validUntilMs(): number {
    return this.#state?.standing === 'held' ? this.#state.validUntilMs : -Infinity;
  }

  get #settings(): NonNullable<Scope['document']['failover']> {
    const { failover } = this.scope.document;
    if (failover === undefined) throw new TypeError('a lease is kept only where there is failover');
    return failover;
  }

  /** Nothing is held: what is there is read first. */
  async #begin(context: Context<LeaseKeeperProtocol>): Promise<void> {
    this.#state = undefined;
    this.#share();
    const { clock, held } = this.scope;
    if (held.isForfeited) return this.#end();
    try {
      const entry = await this.lease.read(context.signal);
      if (!this.#isFree(entry)) {
        this.#noteTaken(entry);
        return this.#later(this.#settings.renewMs, 'begin', context);
      }
      this.#inTheWay = undefined;
      this.#takenSinceMs = undefined;
      const { instance } = this.scope;
      const isOurs = entry.record?.instance === instance;
      this.#state = keeperOf(instance, this.#settings, {
        expectedSeq: entry.seq,
        ...(isOurs && { n: entry.record?.n ?? 0 }),
      });
      await this.#go(context);
    } catch (thrown) {
      if (context.signal.aborted) return;
      this.#alarm(toAntiphonError(thrown).message);
      this.#later(retryDelayMs(this.#failures++, clock), 'begin', context);
    }
  }

  /** Another holder's of this epoch or a later one is free when nobody renews it for its time. */
  #isFree(entry: LeaseEntry): boolean {
    const { record } = entry;
    const { clock, id } = this.scope;
    if (record === undefined || record.epoch < this.#epoch || record.holder === id) return true;
    if (this.#inTheWay?.entry.seq !== entry.seq) this.#inTheWay = { entry, sinceMs: clock.monotonicMs() };
    return clock.monotonicMs() - this.#inTheWay.sinceMs >= record.leaseMs + this.#settings.marginMs;
  }

  /** In a takeover the next epoch comes at once, and says more. */
  #noteTaken({ record }: LeaseEntry): void {
    const nowMs = this.scope.clock.monotonicMs();
    this.#takenSinceMs ??= nowMs;
    if (record === undefined || nowMs - this.#takenSinceMs < this.#settings.leaseMs) return;
    this.#alarm(
      `${record.holder} has it, for epoch ${record.epoch}, and the log of this cluster has not named it the primary.`,
    );
  }

  async #go(context: Context<LeaseKeeperProtocol>): Promise<void> {
    this.#takeBack();
    const state = this.#state;
    const { clock, held } = this.scope;
    if (held.isForfeited) return this.#end();
    if (state === undefined || context.signal.aborted) return;
    const task = keeperTask(state, clock.monotonicMs());
    this.#tell();
    const unfit = whyUnfit(this.scope);
    // Another one may take its place. If nobody does, it goes on where it was.
    if (unfit !== undefined) {
      this.scope.standIn?.tell(undefined);
      this.#alarm(unfit);
      return this.#later(this.#settings.renewMs, 'go', context);
    }
    if (task.type === 'lost') return this.#later(this.#settings.renewMs, 'begin', context);
    if (task.type === 'renew') return this.#renew(task, context);
    if (task.type === 'read') return this.#read(context);
    if (task.untilMs < Infinity) this.#later(task.untilMs - clock.monotonicMs(), 'go', context);
  }

  #renew(
    { n, expectedSeq }: { n: number; expectedSeq: number },
    context: Context<LeaseKeeperProtocol>,
  ): void {
    this.#isReconnected = false;
    this.#step({ type: 'sent', atMs: this.scope.clock.monotonicMs() });
    void this.lease.take(this.#record(n), expectedSeq).then((take) => {
      if (context.signal.aborted) return;
      if (take.type === 'unknown') this.#alarm(take.error.message);
      context.self.tell('answered', keeperEventOf(take, n, this.scope.clock.monotonicMs()));
    });
  }

  async #read(context: Context<LeaseKeeperProtocol>): Promise<void> {
    const { clock } = this.scope;
    try {
      const entry = await this.lease.read(context.signal);
      this.#learn({ type: 'read', entry, atMs: clock.monotonicMs() });
    } catch (thrown) {
      if (context.signal.aborted) return;
      this.#alarm(toAntiphonError(thrown).message);
      this.#learn({ type: 'unread', atMs: clock.monotonicMs() });
    }
    return this.#go(context);
  }

  /** What somebody has made of it meanwhile is newer than what was asked before. */
  #learn(event: KeeperEvent): void {
    this.#absorb();
    if (!this.#isStoodIn) this.#step(event);
  }

  #step(event: KeeperEvent): void {
    if (this.#state === undefined) return;
    this.#state = keeperStep(this.#state, event);
    this.#share();
    this.#tell();
  }

  #tell(): void {
    const { clock, held, health } = this.scope;
    const state = this.#state;
    const isValid = state !== undefined && isLeaseValid(state, clock.monotonicMs());
    held.set(isValid ? state.validUntilMs : -Infinity);
    this.#expiry?.cancel();
    if (!isValid || held.isForfeited) return health.handle('lease-out');
    this.#expiry = clock.setTimer(held.leftMs, () => {
      this.#takeBack();
      this.#tell();
    });
    this.#failures = 0;
    health.handle('lease-back');
    health.clearAlarm(LEASE_ALARM);
  }

  /** It is another one's, whether or not this database can follow. */
  #end(): void {
    this.#share();
    this.scope.health.clearAlarm(LEASE_ALARM);
  }

  #alarm(message: string): void {
    const { health, held } = this.scope;
    if (held.isValid || held.isForfeited) return;
    const writes = held.bars ? 'It takes no writes until it can.' : '';
    health.alarm(LEASE_ALARM, `This primary cannot renew its lease: ${message} ${writes}`.trim());
  }

  #later(delayMs: number, what: 'begin' | 'go', context: Context<LeaseKeeperProtocol>): void {
    this.#timer?.cancel();
    this.#timer = context.after(Math.max(1, delayMs), what, undefined);
  }
}
