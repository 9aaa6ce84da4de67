import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  counterOf,
  type AppendResult,
  checkOptions,
  durationText,
  encodeEpochRecord,
  EPOCH_ORIGIN,
  type EpochRecord,
  newestEpoch,
  type OptionNames,
  sentence,
  sleep,
  toAntiphonError,
} from '@antiphon/core';
import { notWritable } from '../config/not-writable.js';
import { isPrimary, knownOf } from '../state/authority.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { assertTimeout } from '../wait/deadline.js';
import { isHandingOver } from './begin-hand-over.js';
import type { Claim } from './claimant.js';
import { entering, lookAtSuccessor, type Successor } from './successor.js';
import { assertFailover, type TakenOver } from './take-over.js';

/** How long writes may wait. */
export interface SwitchOverOptions {
  /**
   * In milliseconds. First, for so long at most, the other one may come to where it follows, while
   * writes go on. Then writes wait: whatever is not done by then is taken back, and this replica
   * stays the primary; that takes as long again at most.
   * @defaultValue 10 000
   */
  readonly timeoutMs?: number;
  /** Ends the wait. Before the log names the other one, it is taken back; from then on it stays. */
  readonly signal?: AbortSignal;
}

const SWITCH_OVER_OPTIONS: OptionNames<SwitchOverOptions> = { timeoutMs: true, signal: true };
const DEFAULT_TIMEOUT_MS = 10_000;
/** Between two looks at a successor that does not follow yet. */
const LOOK_MS = 100;
/** A turn that begins in time is through by then, also where it waits for a lock of the file. */
const TURN_MS = 10_000;
/** The other one has so long at least to say that it is the primary. */
const LEAST_WAIT_MS = 1000;
/** Draining, handing over, taking it back: writes are held until the last of them is over. */
const STEPS = 3;
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
  /** The number of the epoch that it ends. */
  #before = 0;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly to: string,
    private readonly waiting: Waiting,
    private readonly failing = { takesBack: true },
  ) {}

  async run(): Promise<SwitchedOver> {
    await this.scope.members.lookUp([this.to]);
    this.#assertPrimary();
    this.#assertAble();
    const successor = await this.#successor();
    const { clock } = this.scope;
    const untilMs = clock.monotonicMs() + this.waiting.timeoutMs;
    do {
      await this.#othersOver(untilMs);
      // Another one may have taken over while others were asked or waited for.
      this.#assertPrimary();
      this.#assertAble();
    } while (!(await this.#begin(untilMs)));
    const sinceMs = clock.monotonicMs();
    try {
      await this.#drained();
      this.#assertReplicating();
      await Promise.race([this.#refused(successor), this.#read()]);
    } catch (thrown) {
      if (!this.failing.takesBack) throw thrown;
      await this.#takeBack({ why: 'restart' });
      // Its record may have come all the same, a moment later.
      if (!this.#hasBegun(this.to)) throw this.#cameToNothing(thrown, this.#standing());
    } finally {
      await this.replica.ask('enter').catch(() => undefined);
      this.replica.tell('release', this.#before);
    }
    if (this.failing.takesBack) await this.#confirmed(sinceMs);
    const { number: epoch, primary = '', seq } = newestEpoch(this.scope.store.state());
    return { epoch, primary, seq, elected: primary === this.to, tookMs: clock.monotonicMs() - sinceMs };
  }

  #assertPrimary(): void {
    const { authority, id, cluster, members } = this.scope;
    if (!isPrimary(authority)) throw notWritable({ cluster, id, primary: knownOf(authority).primary });
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

  /**
   * A state that ends by itself is waited for, and writes go on meanwhile: a primary that was
   * deposed a moment ago still undoes what only it has. Where this replica is about to end, there
   * is no time for that.
   */
  async #successor(): Promise<Successor> {
    const { clock, id, cluster } = this.scope;
    const { timeoutMs, signal } = this.waiting;
    const sinceMs = clock.monotonicMs();
    const patienceMs = this.failing.takesBack ? timeoutMs : 0;
    // A primary that ends has chosen among candidates.
    const asking = { ...this.waiting, isCandidate: !this.failing.takesBack };
    for (;;) {
      const { successor, obstacle, isPassing } = await lookAtSuccessor(this.scope, this.to, asking);
      if (obstacle === undefined) return successor;
      this.#assertPrimary();
      const waitedMs = clock.monotonicMs() - sinceMs;
      const context = { cluster, replica: this.to };
      if (!isPassing || patienceMs === 0)
        throw new AntiphonError(
          'BAD_OPTION',
          `${this.to} cannot become the primary now: it is ${sentence(obstacle)} Choose another one, or wait until it follows.`,
          { context },
        );
      if (waitedMs >= patienceMs)
        throw new AntiphonError(
          'TIMEOUT',
          `${this.to} cannot become the primary: it is still ${obstacle} after ${durationText(waitedMs)}. ${id} stays the primary. ` +
            'Wait until it follows, or choose another one.',
          { context },
        );
      await sleep(clock, Math.min(LOOK_MS, patienceMs - waitedMs), signal);
    }
  }

  /** One at a time: of two that overlap, the later one hands over what the other has left it. */
  async #othersOver(untilMs: number): Promise<void> {
    const { progress, clock, id, health } = this.scope;
    await progress.until(() => !isHandingOver(this.scope) || !health.replicating, {
      ...this.waiting,
      timeoutMs: Math.max(0, untilMs - clock.monotonicMs()),
      what: `another switchover of ${id} is over`,
    });
  }

  /** False: another one was faster. Where it throws, nothing has changed. */
  async #begin(beforeMs: number): Promise<boolean> {
    // Not earlier: an epoch of its own may have passed as well.
    this.#before = newestEpoch(this.scope.store.state()).number;
    const request = { epoch: this.#before, holdMs: STEPS * this.waiting.timeoutMs, beforeMs };
    try {
      // Its turn refuses what comes late; one that has begun is not left.
      const timeoutMs = Math.max(1, beforeMs - this.scope.clock.monotonicMs()) + TURN_MS;
      return await this.replica.ask('handOver', request, { timeoutMs });
    } catch (thrown) {
      // A turn that goes on hands over to nobody: the next check takes it back.
      if (thrown instanceof AntiphonError && thrown.context['started'] === true)
        this.replica.tell('release', this.#before);
      throw this.failing.takesBack
        ? this.#cameToNothing(thrown, `${this.scope.id} stays the primary.`)
        : thrown;
    }
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
  #refused({ standing, instance }: Successor): Promise<never> {
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

  /**
   * By the other one, or by whoever has followed it since. Only its own word that it has not begun
   * takes the role back from it: one that does not answer may be in its first write, which it has
   * acknowledged then.
   */
  async #confirmed(sinceMs: number): Promise<void> {
    const { store, clock, id } = this.scope;
    const { number, primary } = newestEpoch(store.state());
    if (primary !== this.to) return;
    const { timeoutMs, signal } = this.waiting;
    let untilMs = Math.max(sinceMs + timeoutMs, clock.monotonicMs() + LEAST_WAIT_MS);
    let readSeq = 0;
    for (let pauseMs = 5; ; pauseMs *= 2) {
      const found = await entering(this.scope, this.to, number, this.waiting);
      if (found?.hasEntered === true) return;
      // It was elected in its place, or has claimed its role back.
      if (this.#hasBegun(id)) throw this.#cameToNothing(await this.#unheard(), this.#standing());
      // The log names it, whoever still waits for its word.
      if (newestEpoch(store.state()).number > number || signal?.aborted === true) return;
      // Nothing more is written: who still reads gets there.
      if (found !== undefined && found.seq > readSeq && readSeq > 0)
        untilMs = Math.max(untilMs, clock.monotonicMs() + timeoutMs);
      readSeq = found?.seq ?? readSeq;
      // It sent everything before it left, and nobody is the primary now.
      if (found === undefined && (await this.#hasLeft())) break;
      if (clock.monotonicMs() >= untilMs) {
        if (found === undefined) throw this.#silent();
        break;
      }
      await sleep(clock, Math.min(LOOK_MS, pauseMs), signal).catch(() => undefined);
    }
    this.#before = number;
    const unlessBegun = (await this.#hasLeft()) ? {} : { unlessBegun: this.to };
    await this.#takeBack({ why: 'switchover', ...unlessBegun });
    const late = await entering(this.scope, this.to, number, this.waiting);
    if (late?.hasEntered === true && !this.#hasBegun(id)) return;
    throw this.#cameToNothing(await this.#unheard(), this.#standing());
  }

  async #hasLeft(): Promise<boolean> {
    const { members } = this.scope;
    await members.refresh().catch(() => undefined);
    return members.isFormer(this.to);
  }

  #silent(): AntiphonError {
    const { id, cluster, closing } = this.scope;
    if (closing.aborted)
      return new AntiphonError('CLOSED', `${id} is closing, and does not see whether ${this.to} has begun.`);
    return new AntiphonError(
      'TIMEOUT',
      `The log names ${this.to} the primary, and it does not answer whether it has begun: it may be in a long write. ` +
        `See \`antiphon status\`; if it has gone, \`antiphon failover ${id}\` makes ${id} the primary again.`,
      { context: { cluster, replica: this.to } },
    );
  }

  /** Since this switchover has begun, in the newest epoch. */
  #hasBegun(primary: string): boolean {
    const newest = newestEpoch(this.scope.store.state());
    return newest.primary === primary && newest.number > this.#before;
  }

  /** Who takes writes now, where it did not come about. */
  #standing(): string {
    const { id, health, store } = this.scope;
    const { primary } = newestEpoch(store.state());
    if (primary !== undefined && primary !== id) return `${primary} is the primary now.`;
    return health.stopped === undefined
      ? `${id} takes writes again as soon as the log answers.`
      : `${id} takes writes again when it replicates again: see \`antiphon status\`.`;
  }

  /** Before anything is held. */
  #assertAble(): void {
    const { stopped } = this.scope.health;
    if (stopped !== undefined) throw this.#cameToNothing(stopped, this.#standing());
  }

  /** What was to hand over could not send the rest, nor read who has its place. */
  #assertReplicating(): void {
    const { stopped } = this.scope.health;
    if (stopped !== undefined) throw stopped;
  }

  async #unheard(): Promise<AntiphonError> {
    const { cluster } = this.scope;
    const context = { cluster, replica: this.to };
    if (await this.#hasLeft()) {
      const message = `${this.to} has left cluster ${cluster} meanwhile. Choose another one.`;
      return new AntiphonError('BAD_OPTION', message, { context });
    }
    return new AntiphonError(
      'TIMEOUT',
      `The log names ${this.to} the primary, and it has not begun to be it in time. See whether it runs, whether ` +
        'another program has locked its file, and whether its disk is full.',
      { context },
    );
  }

  /** With an epoch of its own, which comes before whatever may still arrive of the hand-over. */
  async #takeBack(claim: Claim): Promise<void> {
    const { store, id, progress } = this.scope;
    const isOver = (): boolean => newestEpoch(store.state()).number > this.#before;
    if (isOver()) return;
    await this.replica.ask('claim', { ...claim, ending: this.#before });
    const what = `the log has another epoch of ${id}`;
    // It is claimed until the log answers; writes wait no longer for that.
    await progress.until(isOver, { timeoutMs: this.waiting.timeoutMs, what }).catch(() => undefined);
  }

  #cameToNothing(thrown: unknown, next: string): AntiphonError {
    const error = toAntiphonError(thrown);
    return new AntiphonError(
      error.code,
      `The switchover to ${this.to} did not come about: ${sentence(error.message)} ${next}`,
      { cause: error, context: error.context },
    );
  }
}
