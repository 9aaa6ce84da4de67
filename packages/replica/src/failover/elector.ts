import { remoteRef, type ActorRef, type Behaviour, type Context } from '@antiphon/actor';
import {
  AntiphonError,
  candidateWaitMs,
  type DetectorEvent,
  detectorOf,
  type DetectorState,
  detectorStep,
  detectorVerdict,
  type Lease,
  type LeaseEntry,
  type LossReason,
  mailboxPrefix,
  newestEpoch,
  nextPromotion,
  promotionsIn,
  rankCandidates,
  sentence,
  sleep,
  type Timer,
  toAntiphonError,
} from '@antiphon/core';
import type { PeerProtocol } from '../state/peer.js';
import type { ElectorProtocol, ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { candidacies } from './candidacy.js';
import { LEASE_ALARM } from './lease-keeper.js';

/** Between two tries, while nobody is elected. */
const TRY_AGAIN_MS = 200;
export const ELECTION_ALARM = 'election';
/** Of `leaseMs`: NATS may elect a leader in less. */
const UNREAD_LEASES = 5;

/**
 * Watches the primary, and takes its place when it has gone: of all members that answer, the best
 * one first. Only the order of the log decides who it is; this decides who tries, and when.
 */
export class Elector implements Behaviour<ElectorProtocol> {
  readonly receive = {
    event: (event: DetectorEvent, context: Context<ElectorProtocol>): void => this.#on(event, context),
    probe: (_: undefined, context: Context<ElectorProtocol>): void => this.#probe(context),
    look: (_: undefined, context: Context<ElectorProtocol>): void => this.#look(context),
  };
  #state: DetectorState;
  #timer: Timer | undefined;
  #reading = false;
  #electing = false;
  #dueMs = 0;
  /** The renewal after which the primary was lost; undefined while it is not. */
  #lastRenewal: string | undefined;
  /** Since then. */
  #hasClaimed = false;
  /** Since when the lease cannot be read. */
  #unreadSinceMs: number | undefined;
  /** Since when there is no candidate. */
  #nobodySinceMs: number | undefined;
  #stopListening: readonly (() => void)[] = [];

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly lease: Lease,
  ) {
    const { clock } = scope;
    const { failover } = scope.document;
    if (failover === undefined) throw new TypeError('nobody is elected where there is no failover');
    this.#state = detectorOf(failover, newestEpoch(scope.store.state()).number, clock.monotonicMs());
  }

  started(context: Context<ElectorProtocol>): void {
    const { clock, log, members } = this.scope;
    const { probeMs } = this.#state.settings;
    const now = (): number => clock.monotonicMs();
    this.#stopListening = [
      this.lease.onRenewal((record) => {
        members.renewed(record);
        context.self.tell('event', { type: 'renewal', record, atMs: now() });
      }),
      log.onConnection((connection) => {
        const type = connection === 'connected' ? 'connected' : 'disconnected';
        context.self.tell('event', { type, atMs: now() });
      }),
    ];
    if (log.connection !== 'connected') this.#on({ type: 'disconnected', atMs: now() }, context);
    this.#dueMs = now() + probeMs;
    context.every(probeMs, 'probe', undefined);
    context.self.tell('look');
  }

  stopped(): void {
    this.#timer?.cancel();
    for (const stop of this.#stopListening) stop();
    this.scope.health.clearAlarm(ELECTION_ALARM);
    this.scope.health.clearAlarm(LEASE_ALARM);
  }

  #on(event: DetectorEvent, context: Context<ElectorProtocol>): void {
    this.#state = detectorStep(this.#state, event);
    this.#look(context);
  }

  /** Never waits for the one before: a process that is stopped answers none. */
  #probe(context: Context<ElectorProtocol>): void {
    const { bus, cluster, clock, authority, id, log } = this.scope;
    const { probeMs } = this.#state.settings;
    const sentAtMs = clock.monotonicMs();
    this.#on({ type: 'turn', dueAtMs: this.#dueMs, atMs: sentAtMs }, context);
    this.#dueMs = sentAtMs + probeMs;
    const { primary } = authority.current();
    if (primary === undefined || primary === id || log.connection !== 'connected') return;
    const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, primary));
    const tell = (type: 'answered' | 'no-responders' | 'timeout'): void => {
      if (!context.signal.aborted) context.self.tell('event', { type, sentAtMs });
    };
    mailbox.ask('ping', undefined, { timeoutMs: 5 * probeMs, signal: context.signal }).then(
      () => tell('answered'),
      (error: unknown) => tell(isUnheard(error) ? 'no-responders' : 'timeout'),
    );
  }

  #look(context: Context<ElectorProtocol>): void {
    const { clock } = this.scope;
    const nowMs = clock.monotonicMs();
    const verdict = detectorVerdict(this.#state, nowMs);
    if (verdict.type === 'lost') {
      this.#lastRenewal ??= this.#renewal;
      if (!this.#electing) void this.#elect(verdict.why, context);
      return;
    }
    this.#nobodySinceMs = undefined;
    this.#endAlarm();
    if (verdict.type === 'read') return void this.#read(context);
    if (verdict.lookAtMs < Infinity) this.#later(verdict.lookAtMs - nowMs, context);
  }

  /**
   * Only the primary itself ends it, by a renewal: a look at the lease, a candidate that has taken
   * it, and a pause of this process do not bring a primary, and would let it begin again and again.
   */
  #endAlarm(): void {
    if (this.#lastRenewal === undefined || this.#lastRenewal === this.#renewal) return;
    const { authority, health } = this.scope;
    if (this.#state.seen?.record?.holder !== authority.current().primary) return;
    this.#lastRenewal = undefined;
    this.#hasClaimed = false;
    health.clearAlarm(ELECTION_ALARM);
  }

  /** The newest one, by whoever it is. */
  get #renewal(): string {
    const { seen, n } = this.#state;
    return `${seen?.record?.instance ?? ''} ${n}`;
  }

  async #read(context: Context<ElectorProtocol>): Promise<void> {
    if (this.#reading) return;
    const { clock } = this.scope;
    const askedAtMs = clock.monotonicMs();
    this.#reading = true;
    try {
      const entry = await this.#readLease(context.signal);
      context.self.tell('event', { type: 'read', entry, askedAtMs, atMs: clock.monotonicMs() });
    } catch {
      if (!context.signal.aborted) this.#later(TRY_AGAIN_MS, context);
    } finally {
      this.#reading = false;
    }
  }

  /** One try: what has changed meanwhile is looked at before the next one. */
  async #elect(why: LossReason, context: Context<ElectorProtocol>): Promise<void> {
    const { health, clock, logger, authority, store } = this.scope;
    this.#electing = true;
    try {
      const { primary = '' } = authority.current();
      const verdict = nextPromotion(promotionsIn(store.state().epochs), clock.nowMs());
      health.alarm(
        ELECTION_ALARM,
        `The primary ${primary} ${WHY[why]}. ${this.#obstacle(verdict.flapping)}`.trim(),
      );
      if (verdict.allowedAtMs > clock.nowMs()) return;
      // What was heard of renewals does not say which entry is there, and taking needs that one.
      const [place] = await Promise.all([this.#place(context.signal), this.#readNow(context.signal)]);
      if (place === undefined) return;
      await sleep(clock, candidateWaitMs(place), context.signal);
      if (this.#isOver || detectorVerdict(this.#state, clock.monotonicMs()).type !== 'lost') return;
      if (!(await this.#take(context.signal))) return;
      // Again while its first claim is on its way: that is no news.
      const level = this.#hasClaimed ? 'debug' : 'warn';
      this.#hasClaimed = true;
      logger[level]({ primary, why }, `${this.scope.id} takes the place of the primary ${primary}.`);
      if (this.#isOver) return;
      await this.replica.ask('claim', { why: 'failover', withLease: true }, { signal: context.signal });
    } catch (thrown) {
      if (context.signal.aborted) return;
      const { code, message } = toAntiphonError(thrown);
      const level = thrown instanceof AntiphonError ? 'debug' : 'error';
      logger[level]({ code, err: thrown }, `No election now: ${message}`);
    } finally {
      this.#electing = false;
      if (!context.signal.aborted) this.#later(TRY_AGAIN_MS, context);
    }
  }

  /** Why nobody takes its place yet, and the way out. */
  #obstacle(isFlapping: boolean): string {
    if (isFlapping)
      return 'Primaries have failed too often lately, so the next one waits. `antiphon failover` does not.';
    if (this.#nobodySinceMs === undefined) return '';
    return (
      'No replica that answers can take its place by itself: see why with `antiphon explain-candidate`, or make one the ' +
      'primary with `antiphon failover ID`.'
    );
  }

  /** The claim of a try before has come, and this elector is about to end. */
  get #isOver(): boolean {
    return newestEpoch(this.scope.store.state()).number > this.#state.epoch;
  }

  /** This replica's among all that answer, from 1; undefined: it is no candidate. */
  async #place(signal: AbortSignal): Promise<number | undefined> {
    const { clock, sync, id } = this.scope;
    const answers = await candidacies(this.scope, this.replica, signal);
    const nowMs = clock.monotonicMs();
    const nobodyForMs = nowMs - (this.#nobodySinceMs ?? nowMs);
    const ranked = rankCandidates(answers, { sync: sync !== undefined, nobodyForMs });
    this.#nobodySinceMs = ranked.some(({ place }) => place !== undefined)
      ? undefined
      : (this.#nobodySinceMs ?? nowMs);
    return ranked.find(({ candidate }) => candidate.id === id)?.place;
  }

  /** What it last saw of the lease: a renewal in between, or somebody faster, makes it fail. */
  async #take(signal: AbortSignal): Promise<boolean> {
    const { id, instance, store } = this.scope;
    const { leaseMs } = this.#state.settings;
    const entry = this.#state.seen ?? (await this.#readNow(signal));
    const epoch = newestEpoch(store.state()).number + 1;
    const n = entry.record?.instance === instance ? entry.record.n + 1 : 1;
    const taken = await this.lease.take({ epoch, holder: id, instance, leaseMs, n }, entry.seq);
    if (taken.type === 'taken') return true;
    // Whoever has it now is seen by the next look.
    const now = await this.#readNow(signal);
    return now.record?.instance === instance && now.record.n === n;
  }

  async #readNow(signal: AbortSignal): Promise<LeaseEntry> {
    const { clock } = this.scope;
    const askedAtMs = clock.monotonicMs();
    const entry = await this.#readLease(signal);
    this.#state = detectorStep(this.#state, { type: 'read', entry, askedAtMs, atMs: clock.monotonicMs() });
    return entry;
  }

  /** Without it, this replica takes nobody's place, whatever becomes of the primary. */
  async #readLease(signal: AbortSignal): Promise<LeaseEntry> {
    const { clock, health } = this.scope;
    try {
      const entry = await this.lease.read(signal);
      this.#unreadSinceMs = undefined;
      health.clearAlarm(LEASE_ALARM);
      return entry;
    } catch (thrown) {
      const nowMs = clock.monotonicMs();
      this.#unreadSinceMs ??= nowMs;
      const isLong = nowMs - this.#unreadSinceMs > UNREAD_LEASES * this.#state.settings.leaseMs;
      if (isLong && !signal.aborted) health.alarm(LEASE_ALARM, unreadText(toAntiphonError(thrown)));
      throw thrown;
    }
  }

  #later(delayMs: number, context: Context<ElectorProtocol>): void {
    this.#timer?.cancel();
    this.#timer = context.after(Math.max(1, delayMs), 'look', undefined);
  }
}

const WHY: Readonly<Record<LossReason, string>> = {
  gone: 'has ended: nobody answers in its name',
  silent: 'has not renewed its lease',
  void: 'has not taken its lease',
};

function unreadText({ message }: AntiphonError): string {
  return (
    'This replica does not know whether the primary is there, and cannot take its place by itself, while it cannot ' +
    `read the lease: ${sentence(message)}`
  );
}

function isUnheard(error: unknown): boolean {
  return error instanceof AntiphonError && error.code === 'NO_ACTOR';
}
