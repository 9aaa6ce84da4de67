import { remoteRef, type ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  counterOf,
  type AppendResult,
  checkOptions,
  encodeEpochRecord,
  EPOCH_ORIGIN,
  type EpochRecord,
  mailboxPrefix,
  newestEpoch,
  type OptionNames,
  sentence,
  toAntiphonError,
} from '@antiphon/core';
import { notWritable } from '../config/not-writable.js';
import type { PeerProtocol, Standing } from '../state/peer.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { assertTimeout } from '../wait/deadline.js';
import { assertFailover, type TakenOver } from './take-over.js';

/** How long writes may wait. */
export interface SwitchOverOptions {
  /**
   * In milliseconds. Whatever is not done by then is taken back, and this replica stays the
   * primary; that takes as long again at most.
   * @defaultValue 10 000
   */
  readonly timeoutMs?: number;
  /** Ends the wait: then it is taken back. */
  readonly signal?: AbortSignal;
}

const SWITCH_OVER_OPTIONS: OptionNames<SwitchOverOptions> = { timeoutMs: true, signal: true };
const DEFAULT_TIMEOUT_MS = 10_000;
const ASK_MS = 2000;
/** Draining, handing over, taking it back: writes are held until the last of them is over. */
const STEPS = 3;
/** Writes would wait for too long until it has read them. */
const MOST_BEHIND_ENTRIES = 1000;

/** What became of a switchover. */
export interface SwitchedOver extends TakenOver {
  /** For so long, writes waited; milliseconds. */
  readonly tookMs: number;
}

/**
 * Makes another replica the primary, without a loss: writes wait, what is written comes into the
 * log, and the record that names the other one comes right behind it. Only the primary can.
 *
 * @throws AntiphonError BAD_OPTION, NOT_WRITABLE when this replica is not the primary, NO_ACTOR
 * when the other one does not answer, TIMEOUT
 */
export async function switchOver(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  to: string,
  options: SwitchOverOptions = {},
): Promise<SwitchedOver> {
  checkOptions(options, SWITCH_OVER_OPTIONS, 'switchOver()');
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  assertTimeout(timeoutMs);
  assertFailover(scope);
  return await new SwitchOver(scope, replica, to, { timeoutMs, ...(signal && { signal }) }).run();
}

interface Waiting {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * For a primary that ends: whatever does not come about is not taken back, since it takes no writes
 * any more. If the record comes late, the other one is the primary then.
 *
 * @throws what `switchOver` throws
 */
export function handOver(
  scope: ReplicaScope,
  replica: ActorRef<ReplicaProtocol>,
  to: string,
  waiting: Waiting,
): Promise<SwitchedOver> {
  return new SwitchOver(scope, replica, to, waiting, { takesBack: false }).run();
}

class SwitchOver {
  readonly #before: number;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly to: string,
    private readonly waiting: Waiting,
    private readonly failing = { takesBack: true },
  ) {
    this.#before = newestEpoch(scope.store.state()).number;
  }

  async run(): Promise<SwitchedOver> {
    await this.scope.members.lookUp([this.to]);
    this.#assertPrimary();
    const successor = await this.#successor();
    const { clock, health } = this.scope;
    const sinceMs = clock.monotonicMs();
    health.handle('hand-over');
    let isBegun = false;
    try {
      await this.replica.ask('handOver', STEPS * this.waiting.timeoutMs, { timeoutMs: Infinity });
      isBegun = true;
      await this.#drained();
      await Promise.race([this.#refused(successor), this.#read()]);
    } catch (thrown) {
      const error = toAntiphonError(thrown);
      if (!this.failing.takesBack) throw error;
      // Where its database was not to be had, nothing has changed, and nothing is to be taken back.
      if (isBegun) await this.#takeBack();
      else health.handle('keep-role');
      throw this.#cameToNothing(error, isBegun);
    } finally {
      await this.replica.ask('enter').catch(() => undefined);
      this.replica.tell('release');
    }
    const { number: epoch, primary = '', seq } = newestEpoch(this.scope.store.state());
    return { epoch, primary, seq, elected: primary === this.to, tookMs: clock.monotonicMs() - sinceMs };
  }

  #assertPrimary(): void {
    const { authority, id, cluster, members } = this.scope;
    const { mayWrite, primary } = authority.current();
    if (!mayWrite) throw notWritable({ cluster, id, primary });
    if (this.to !== id && members.has(this.to) && !members.isFormer(this.to)) return;
    const known = members.all.map(({ record }) => record.id).filter((member) => member !== id);
    throw new AntiphonError(
      'BAD_OPTION',
      this.to === id
        ? `${id} is the primary already.`
        : `${this.to} is not a member of cluster ${cluster}. Its other members: ${known.join(', ')}.`,
      { context: { cluster, replica: this.to } },
    );
  }

  #absent(thrown: unknown): AntiphonError {
    const error = toAntiphonError(thrown);
    const { id, cluster } = this.scope;
    if (error.code !== 'NO_ACTOR' && error.code !== 'TIMEOUT') return error;
    return new AntiphonError(
      'NO_ACTOR',
      `${this.to} does not answer, so it cannot become the primary. ${id} stays the primary. Start ${this.to}, or name another replica.`,
      { cause: error, context: { cluster, replica: this.to } },
    );
  }

  async #successor(): Promise<{ readonly standing: Standing; readonly instance: string }> {
    const { bus, cluster, positions } = this.scope;
    const { to } = this;
    const mailbox = remoteRef<PeerProtocol>(bus, mailboxPrefix(cluster, to));
    const limit = { ...this.waiting, timeoutMs: Math.min(ASK_MS, this.waiting.timeoutMs) };
    const [{ instance, lifecycle }, standing] = await Promise.all([
      mailbox.ask('ping', undefined, limit),
      mailbox.ask('standing', undefined, limit),
    ]).catch((thrown: unknown) => {
      throw this.#absent(thrown);
    });
    const behind = positions.passed - standing.seq;
    if (lifecycle === 'following' && behind <= MOST_BEHIND_ENTRIES) return { standing, instance };
    const why = lifecycle === 'following' ? `${behind} entries behind` : lifecycle;
    throw new AntiphonError(
      'BAD_OPTION',
      `${to} cannot become the primary now: it is ${why}. Choose another one, or wait until it follows.`,
      { context: { cluster, replica: to } },
    );
  }

  /** Everything that was written is in the log, and counts there. */
  async #drained(): Promise<void> {
    const { progress, sync } = this.scope;
    await progress.until(() => progress.unpublished === 0 && sync?.standing().idle !== false, {
      ...this.waiting,
      what: 'everything that was written is in the log',
    });
  }

  /**
   * Appends the record, and rejects when it is certainly not there. Without an answer it may be:
   * then it is read.
   */
  #refused({ standing, instance }: { standing: Standing; instance: string }): Promise<never> {
    const { log, clock, id, positions, store } = this.scope;
    const record: EpochRecord = {
      ...{ epoch: this.#before + 1, primary: this.to, instance, after: standing.lastCounter },
      admitted: counterOf(store.state().vector, this.to),
      ...{ by: id, why: 'switchover', atMs: clock.nowMs(), leaves: [] },
    };
    const request = {
      origin: EPOCH_ORIGIN,
      id: `${EPOCH_ORIGIN}:${record.epoch}:${instance}:by:${id}`,
      data: encodeEpochRecord(record),
    };
    return new Promise((_, reject) => {
      log.append(request, (result: AppendResult) => {
        if (result.type === 'stored') positions.sawEnd(result.seq);
        else if (result.type === 'refused') reject(result.error);
      });
    });
  }

  /** Whoever the next primary is: this one reads who. */
  async #read(): Promise<void> {
    const { progress, store, health } = this.scope;
    await progress.until(() => newestEpoch(store.state()).number > this.#before || !health.replicating, {
      ...this.waiting,
      what: `the log has an epoch of ${this.to}`,
    });
    if (health.stopped !== undefined) throw health.stopped;
  }

  /** With an epoch of its own, which comes before whatever may still arrive of the hand-over. */
  async #takeBack(): Promise<void> {
    const { store, id, progress } = this.scope;
    const isOver = (): boolean => newestEpoch(store.state()).number > this.#before;
    if (isOver()) return;
    await this.replica.ask('claim', 'restart');
    const what = `the log has another epoch of ${id}`;
    // It is claimed until the log answers; writes wait no longer for that.
    await progress.until(isOver, { timeoutMs: this.waiting.timeoutMs, what }).catch(() => undefined);
  }

  #cameToNothing(error: AntiphonError, isBegun: boolean): AntiphonError {
    const { id } = this.scope;
    const next = isBegun
      ? `${id} takes writes again as soon as the log answers.`
      : `${id} stays the primary.`;
    return new AntiphonError(
      error.code,
      `The switchover to ${this.to} did not come about: ${sentence(error.message)} ${next}`,
      { cause: error, context: error.context },
    );
  }
}
