import type { ActorRef, Behaviour, Context } from '@antiphon/actor';
import {
  AntiphonError,
  beatSubject,
  type BusSubscription,
  decodeBeat,
  encodeBeat,
  MAX_STRANGERS,
  sentence,
  toAntiphonError,
} from '@antiphon/core';
import { PrimaryWatch } from '../failover/primary-watch.js';
import { alarmRescued } from '../failover/rescue-alarm.js';
import { AgreementWatch } from './agreement-watch.js';
import { LogWatch } from './log-watch.js';
import { MissingTransactions } from '../repair/missing-transactions.js';
import { LostRecords } from './lost-records.js';
import { ownBeat } from './own-beat.js';
import { OwnRecord } from './own-record.js';
import type { HeartbeatProtocol, ReplicaProtocol } from '../state/protocols.js';
import { memberRemoved } from './remove-member.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { StepWatch } from './step-watch.js';
import { InSyncKeeper } from './in-sync-keeper.js';
import { DuplicateWatch } from './duplicate-watch.js';

const REFRESH_EVERY_BEATS = 10;
const IN_SYNC_SET_ALARM = 'in-sync-set';

/**
 * Says how this replica is, hears how the others are, and looks at the log: the same one (I14), and
 * how far ahead.
 */
export class Heartbeat implements Behaviour<HeartbeatProtocol> {
  readonly receive = {
    beat: (_: undefined, context: Context<HeartbeatProtocol>): Promise<void> => this.#beat(context),
    look: (_: undefined, context: Context<HeartbeatProtocol>): Promise<void> =>
      this.#watch.lookAnew(context.signal),
  };
  #beats = 0;
  #subscription: BusSubscription | undefined;
  #stopListening: (() => void)[] = [];
  #unknownMember = false;
  /** Heard since the last beat, and no members. */
  readonly #strangers = new Set<string>();
  #prunedTo = 0;
  readonly #keeper: InSyncKeeper | undefined;
  readonly #watch: LogWatch;
  readonly #duplicates: DuplicateWatch;
  readonly #missing: MissingTransactions;
  readonly #step: StepWatch;
  readonly #agreement: AgreementWatch;
  readonly #record: OwnRecord;
  readonly #lost: LostRecords;
  readonly #primary: PrimaryWatch;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {
    this.#step = new StepWatch(scope, replica, () => void this.#keepInSync());
    this.#watch = new LogWatch(scope, () => this.#step.note());
    this.#missing = new MissingTransactions(scope, replica);
    this.#duplicates = new DuplicateWatch(scope, replica);
    this.#agreement = new AgreementWatch(scope);
    this.#record = new OwnRecord(scope);
    this.#lost = new LostRecords(scope);
    this.#primary = new PrimaryWatch(scope);
    if (scope.sync !== undefined) this.#keeper = new InSyncKeeper(scope, scope.sync);
  }

  started(context: Context<HeartbeatProtocol>): void {
    const { bus, cluster, limits, log } = this.scope;
    this.#subscription = bus.subscribe(beatSubject(cluster, '*'), (request) => this.#hear(request.data));
    this.#stopListening = [
      log.onConnection((connection) => {
        if (connection !== 'connected') return;
        context.self.tell('look');
        void this.#agreement.look();
      }),
      this.scope.health.onState(() => this.#send()),
      this.scope.serving.onChange(() => this.#send()),
      this.scope.progress.onMove(() => this.#step.note()),
      this.scope.sync?.inSync.onChange(() => this.#onInSyncChange()) ?? (() => undefined),
    ];
    context.every(limits.beatMs, 'beat', undefined);
    context.self.tell('beat');
  }

  stopped(): void {
    this.#subscription?.unsubscribe();
    this.#missing.close();
    for (const stop of this.#stopListening) stop();
  }

  async #beat(context: Context<HeartbeatProtocol>): Promise<void> {
    this.#send();
    this.#primary.look();
    const { clocks, hybrid, store } = this.scope;
    clocks.look(hybrid, () => store.unsealed(), context.signal);
    await eachOf([
      () => this.#watch.look(context.signal),
      () => this.#refreshMembers(),
      () => this.#step.look(),
      () => this.#keepInSync(),
      () => this.#missing.look(),
      () => this.#prune(),
      () => this.scope.conflicts.look(),
      () => this.scope.leftOut.look(),
      () => alarmRescued(this.scope),
      () => this.#duplicates.look(),
    ]);
    if (this.#beats % REFRESH_EVERY_BEATS !== 0) return;
    void this.#agreement.look();
    void this.#record.look();
  }

  #send(): void {
    const { bus, cluster, id } = this.scope;
    const beat = ownBeat(this.scope, [...this.#strangers]);
    this.#strangers.clear();
    bus.publish(beatSubject(cluster, id), encodeBeat(beat));
  }

  /** Throws for the bus to count when it is no beat. */
  #hear(data: Uint8Array): void {
    const beat = decodeBeat(data);
    const { id, instance, members } = this.scope;
    if (beat.id !== id) {
      if (!members.has(beat.id) || members.isFormer(beat.id)) {
        this.#unknownMember = true;
        if (this.#strangers.size < MAX_STRANGERS) this.#strangers.add(beat.id);
      } else {
        this.scope.clocks.heard(beat);
        this.scope.sync?.acker.runs(beat.id, beat.instance);
      }
      if (beat.strangers.includes(id)) void this.#record.look();
      this.#step.heard(beat);
      return members.heard(beat);
    }
    if (beat.instance === instance) return this.#keeper?.heardOwn();
    this.#duplicates.heard();
  }

  /** Never rejects. */
  async #keepInSync(): Promise<void> {
    const { health } = this.scope;
    try {
      await this.#keeper?.keep();
      health.clearAlarm(IN_SYNC_SET_ALARM);
    } catch (thrown) {
      const { code, message, retriable } = toAntiphonError(thrown);
      if (retriable || code === 'ACCESS_DENIED') return;
      health.alarm(
        IN_SYNC_SET_ALARM,
        `The in-sync set is not kept, or not shown in the registry: ${sentence(message)}`,
      );
    }
  }

  #onInSyncChange(): void {
    const { sync, health } = this.scope;
    const removal = sync?.inSync.removal;
    if (removal !== undefined) health.stall(memberRemoved(this.scope, ` by ${removal.by}`));
    this.#keeper?.alarm();
  }

  async #refreshMembers(): Promise<void> {
    if (!this.#unknownMember && this.#beats++ % REFRESH_EVERY_BEATS !== 0) return;
    this.#unknownMember = false;
    try {
      const { members, id, health } = this.scope;
      const records = await members.refresh();
      // Others are heard by then, and have written their own.
      if (this.#beats > REFRESH_EVERY_BEATS) void this.#lost.look(records);
      if (members.isFormer(id)) health.stall(memberRemoved(this.scope, ''));
    } catch (error) {
      if (!(error instanceof AntiphonError) || !error.retriable) throw error;
    }
  }

  /** Sealed messages that the log has and every member has applied are not needed any more (I3). */
  #prune(): void {
    const { members, id, limits, store } = this.scope;
    const { publishedCounter, outboxMessages } = store.state();
    if (outboxMessages === 0) return;
    const floor = Math.min(members.appliedFloor(id, limits.memberSilenceLimitMs), publishedCounter);
    if (floor <= this.#prunedTo) return;
    if (this.replica.tell('prune', floor)) this.#prunedTo = floor;
  }
}

/** One after the other, whatever becomes of the others. Throws what the first of them threw. */
async function eachOf(steps: readonly (() => unknown)[]): Promise<void> {
  const thrown: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      thrown.push(error);
    }
  }
  if (thrown.length > 0) throw thrown[0];
}
