import { remoteRef, type Behaviour, type Context } from '@antiphon/actor';
import {
  type AppendResult,
  counterOf,
  decodeEpochRecord,
  encodeEpochRecord,
  EPOCH_ORIGIN,
  type EpochRecord,
  mailboxPrefix,
  newestEpoch,
  toAntiphonError,
} from '@antiphon/core';
import { retryDelayMs } from '../wait/deadline.js';
import { alarmPublish, endPublishAlarm } from '../publish/publish-alarm.js';
import { laterEpoch } from '../deliver/intake.js';
import { assertHolds } from '../log/testimony.js';
import type { PeerProtocol } from '../state/peer.js';
import type { ClaimantProtocol, ClaimRequest } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { leavesOf } from './leaves.js';
import { entering } from './successor.js';

/** How often a claim looks whether replication goes on. */
const STOPPED_RETRY_MS = 1000;
/** Members that run answer in a fraction of it. */
const ASK_MS = 150;
/** So long, the primary that is to be deposed has to say that it has not begun. */
const BEGUN_MS = 1000;

export type Claim = Omit<ClaimRequest, 'ending'>;

/**
 * Claims the next epoch for this process: a record in the log, which is valid if nobody's comes
 * before it. Whether it is, the feed finds out, when it has read everything in front of it: claimed
 * first and read afterwards, nothing can come in between.
 *
 * Ends with the next epoch that this replica reads, whoever's it is. Somebody else's ends the claim
 * with it: whoever wanted it decides again.
 */
export class Claimant implements Behaviour<ClaimantProtocol> {
  readonly receive = {
    claim: (_: undefined, context: Context<ClaimantProtocol>): Promise<void> => this.#claim(context),
    moved: (_: undefined, context: Context<ClaimantProtocol>): Promise<void> | void => {
      // Read, and not valid: it was made for an epoch that the log had already passed.
      if (this.scope.positions.passed >= this.#awaitedSeq) return this.#claim(context);
    },
  };
  /** What has to be read first: the newest record, of ours or of others. */
  #awaitedSeq = Infinity;
  #attempts = 0;
  /** The epoch that it wants to end, or one that the log has begun since. */
  readonly #from: number;
  #stopListening: () => void = () => undefined;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly claimed: Claim,
  ) {
    this.#from = newestEpoch(scope.store.state()).number;
  }

  started(context: Context<ClaimantProtocol>): void {
    this.#stopListening = this.scope.progress.onMove(() => {
      if (this.scope.positions.passed >= this.#awaitedSeq) context.self.tell('moved');
    });
    context.self.tell('claim');
  }

  stopped(): void {
    this.#stopListening();
  }

  async #claim(context: Context<ClaimantProtocol>): Promise<void> {
    const { store, health, clock, id } = this.scope;
    this.#awaitedSeq = Infinity;
    const { number, primary } = newestEpoch(store.state());
    if (number > this.#from) return endPublishAlarm(health);
    if (!this.#mayClaim) {
      // Once it goes on, only this process can be the primary that the log names.
      if (primary === id) context.after(STOPPED_RETRY_MS, 'claim', undefined);
      return;
    }
    try {
      const [, leaves] = await Promise.all([
        this.#assertWhole(context.signal),
        leavesOf(this.scope, context.signal),
      ]);
      // A record for an epoch that the log has passed is none.
      const newestSeq = await this.#newestSeq(context.signal);
      context.signal.throwIfAborted();
      // Whose call is over, the primary that the log names still has to claim, as after a start.
      if (primary !== id && this.#isLate) return endPublishAlarm(health);
      if (!(await this.#isWanted(number, context.signal))) return endPublishAlarm(health);
      // What was true when it began to ask need not be any more.
      if (!this.#mayClaim) return void context.self.tell('claim');
      this.#awaitedSeq =
        newestSeq > this.scope.positions.passed
          ? newestSeq
          : await this.#append(this.#record(leaves), context.signal);
      endPublishAlarm(health);
      context.self.tell('moved');
    } catch (thrown) {
      if (context.signal.aborted) return;
      const error = toAntiphonError(thrown);
      if (error.code === 'LOG_REPLACED') return health.stall(error);
      // One without an answer may be valid: then the feed brings it, and this ends.
      alarmPublish(health, this.#attempts, error);
      context.after(retryDelayMs(this.#attempts, clock), 'claim', undefined);
    }
  }

  get #mayClaim(): boolean {
    const { store, health, ownReturn } = this.scope;
    return newestEpoch(store.state()).number === this.#from && health.replicating && !ownReturn.isPending;
  }

  /**
   * I14: a log that was cut, and has perhaps grown again, looks whole to a replica that had not
   * read what is missing, and a claim would begin another history. Beats tell, but it need not have
   * heard any yet. So whoever runs is asked how far it has come, and then the log. Throws
   * LOG_REPLACED.
   */
  async #assertWhole(signal: AbortSignal): Promise<void> {
    const { members, id, bus, cluster, document } = this.scope;
    const others = members.all.map(({ record }) => record.id).filter((member) => member !== id);
    await Promise.all(
      others.map(async (member) => {
        const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, member));
        const asked = mailbox.ask('standing', undefined, { timeoutMs: ASK_MS, signal });
        const { entry, generation } = (await asked.catch(() => undefined)) ?? {};
        if (entry === undefined || generation !== document.generation) return;
        await assertHolds(this.scope, { id: member, entry }, signal);
      }),
    );
  }

  /** Whoever called for it waits no longer. */
  get #isLate(): boolean {
    return this.scope.clock.monotonicMs() > (this.claimed.untilMs ?? Infinity);
  }

  /** Asked before each record: it is claimed until the log answers, and that may take minutes. */
  async #isWanted(epoch: number, signal: AbortSignal): Promise<boolean> {
    if (this.claimed.withLease === true && !(await this.#hasLease(signal))) return false;
    return !(await this.#hasBegun(epoch, signal));
  }

  /** Somebody else who has taken it since may be the primary. */
  async #hasLease(signal: AbortSignal): Promise<boolean> {
    const { lease, instance } = this.scope;
    return lease === undefined || (await lease.read(signal)).record?.instance === instance;
  }

  /**
   * Whoever has begun may have acknowledged writes, which would go to its rescue ledger; so may one
   * that does not answer.
   */
  async #hasBegun(epoch: number, signal: AbortSignal): Promise<boolean> {
    const { unlessBegun } = this.claimed;
    if (unlessBegun === undefined) return false;
    const found = await entering(this.scope, unlessBegun, epoch, { timeoutMs: BEGUN_MS, signal });
    return found?.hasEntered !== false;
  }

  /** Throws LOG_REPLACED when this replica has passed a record that it does not know. */
  async #newestSeq(signal: AbortSignal): Promise<number> {
    const { log, positions, store } = this.scope;
    const newest = await log.lastOf(EPOCH_ORIGIN, signal);
    if (newest === undefined) return 0;
    const { number } = newestEpoch(store.state());
    const record = decodeEpochRecord(newest.data);
    if (record !== undefined && record.epoch === number + 1 && newest.seq <= positions.passed)
      throw laterEpoch(newest, record.epoch, number);
    return newest.seq;
  }

  async #append(record: EpochRecord, signal: AbortSignal): Promise<number> {
    const request = {
      origin: EPOCH_ORIGIN,
      id: `${EPOCH_ORIGIN}:${record.epoch}:${record.instance}:${++this.#attempts}`,
      data: encodeEpochRecord(record),
    };
    const result = await new Promise<AppendResult>((settled, ended) => {
      // Read meanwhile, this record or another one ends the claim without an answer.
      const end = (): void => ended(signal.reason as Error);
      signal.addEventListener('abort', end, { once: true });
      this.scope.log.append(request, (answer) => {
        signal.removeEventListener('abort', end);
        settled(answer);
      });
    });
    if (result.type !== 'stored') throw result.error;
    // A primary that claims another epoch reads no further than it has to.
    this.scope.positions.sawEnd(result.seq);
    return result.seq;
  }

  #record(leaves: readonly string[]): EpochRecord {
    const { id, instance, store, clock } = this.scope;
    const state = store.state();
    const { lastCounter, publishedCounter } = state;
    const hasTail = counterOf(state.vector, id) > publishedCounter;
    return {
      epoch: newestEpoch(state).number + 1,
      ...{ primary: id, instance, by: id, why: this.#isLate ? 'restart' : this.claimed.why, leaves },
      // A tail that is kept goes on with its counters; else whatever was ever given is spent.
      after: hasTail ? publishedCounter : lastCounter,
      // What it had before it read the log to the end is what it has published.
      admitted: Math.min(publishedCounter, counterOf(state.vector, id)),
      atMs: clock.nowMs(),
    };
  }
}
