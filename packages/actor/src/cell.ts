import { AntiphonError, type Timer } from '@antiphon/core';
import type { ActorStats, Behaviour, Death, EndReason, Ending, SpawnOptions } from './behaviour.js';
import type { Envelope } from './envelope.js';
import { actorCrashed, actorStopped, mailboxFull, unanswered, unknownMessage } from './errors.js';
import type { MessageContext } from './errors.js';
import { Incarnation } from './incarnation.js';
import type { ChildCell, Family, Kernel } from './kernel.js';
import { LocalRef } from './local-ref.js';
import { Mailbox, TERMINATED } from './mailbox.js';
import { NO_REPLY } from './no-reply.js';
import type { Untyped } from './protocol.js';
import { ABANDONED, StopDeadline, isPromise } from './stop-deadline.js';
import { DEFAULT_SUPERVISION, Supervisor, type Verdict } from './supervision.js';

/**
 * The whole life of one actor; read it from `#live` on. Incarnations follow each other until the
 * actor is stopped or supervision gives up; each one starts, serves messages one at a time, and
 * ends. The mailbox outlives them.
 */
export class Cell implements ChildCell {
  readonly mailbox: Mailbox;
  readonly ref: LocalRef;
  readonly #supervisor: Supervisor;
  readonly #deadline: StopDeadline;
  readonly #listeners = new Set<(death: Death) => void>();
  readonly #ended: Promise<boolean>;
  #incarnation: Incarnation | undefined;
  /** Accepts no message, and no incarnation follows. */
  #closing = false;
  #reason: EndReason | undefined;
  /** Resolves the wait for the next message. */
  #wakeUp: (() => void) | undefined;
  #endBackOff: (() => void) | undefined;
  #handled = 0;
  #dropped = 0;
  #restarts = 0;

  constructor(
    readonly kernel: Kernel,
    readonly path: string,
    private readonly create: () => Behaviour<Untyped>,
    options: SpawnOptions<Untyped>,
    private readonly family: Family,
  ) {
    this.mailbox = new Mailbox(options.mailbox);
    this.#supervisor = new Supervisor(options.supervision ?? DEFAULT_SUPERVISION, kernel.clock);
    this.#deadline = new StopDeadline(kernel.clock);
    this.ref = new LocalRef(this);
    this.#ended = this.#live();
  }

  get stats(): ActorStats {
    const [handled, dropped, restarts] = [this.#handled, this.#dropped, this.#restarts];
    return { waiting: this.mailbox.waiting, handled, dropped, restarts };
  }

  /** Puts a message into its lane, or tells why not. */
  offer(envelope: Envelope): ((context: MessageContext) => AntiphonError) | undefined {
    const lane = this.mailbox.laneOf(envelope.type);
    const refusal = this.#closing ? actorStopped : lane === undefined ? unknownMessage : undefined;
    if (refusal !== undefined || lane === undefined || lane.full) {
      this.#dropped++;
      return refusal ?? mailboxFull;
    }
    lane.push(envelope);
    this.wake();
    return undefined;
  }

  /** As `offer`, past the capacity: for timers, whose number has a limit of its own. */
  deliver(envelope: Envelope): void {
    this.mailbox.laneOf(envelope.type)?.push(envelope);
    this.wake();
  }

  wake(): void {
    const wakeUp = this.#wakeUp;
    this.#wakeUp = undefined;
    wakeUp?.();
  }

  onEnd(listener: (death: Death) => void): Timer {
    this.#listeners.add(listener);
    if (this.#reason !== undefined) queueMicrotask(() => this.#announceEnd());
    return { cancel: () => this.#listeners.delete(listener) };
  }

  /**
   * Resolves when the actor has ended, at the latest soon after `deadlineMs` (monotonic): whether
   * it left something running.
   */
  stop(deadlineMs: number): Promise<boolean> {
    if (this.#reason !== undefined) return this.#ended;
    this.#deadline.set(deadlineMs);
    this.#close();
    this.#incarnation?.end();
    this.#endBackOff?.();
    this.wake();
    return this.#ended;
  }

  /** Ends the current incarnation after its current turn; it has `failure` set. */
  endIncarnation(): void {
    this.#deadline.set(this.kernel.clock.monotonicMs() + this.kernel.stopTimeoutMs);
    this.#incarnation?.end();
    this.wake();
  }

  async #live(): Promise<boolean> {
    await Promise.resolve(); // `spawn` returns first.
    let verdict: Verdict = { type: 'stop' };
    while (!this.#closing) {
      const incarnation = new Incarnation(this);
      this.#incarnation = incarnation;
      await this.#start(incarnation);
      await this.#serve(incarnation);
      verdict = await this.#finish(incarnation);
      if (verdict.type === 'restart') await this.#backOff(verdict.delayMs);
    }
    const failure = verdict.type === 'restart' ? undefined : this.#incarnation?.failure;
    this.#reason = failure === undefined ? { type: 'stopped' } : { type: 'crashed', error: failure.error };
    this.#deadline.clear();
    this.kernel.emit({ type: 'ended', path: this.path, reason: this.#reason });
    this.family.ended();
    this.#announceEnd();
    if (failure !== undefined && verdict.type === 'escalate') this.family.escalate(failure.error);
    return this.#incarnation?.abandoned ?? false;
  }

  async #start(incarnation: Incarnation): Promise<void> {
    try {
      incarnation.behaviour = this.create();
      const starting = incarnation.behaviour.started?.(incarnation);
      if (isPromise(starting)) await this.#deadline.bounded(starting);
    } catch (error) {
      this.#blame(incarnation, 'started', error);
    }
  }

  async #serve(incarnation: Incarnation): Promise<void> {
    const { budget } = this.kernel;
    while (!incarnation.ending) {
      const envelope = this.mailbox.take();
      if (envelope === undefined) {
        await new Promise<void>((resolve) => (this.#wakeUp = resolve));
        continue;
      }
      budget.begin();
      try {
        const answer = this.#call(incarnation, envelope);
        const value = isPromise(answer) ? await this.#deadline.bounded(answer) : answer;
        if (value !== NO_REPLY) envelope.reply(value);
      } catch (error) {
        this.#failTurn(incarnation, envelope, error);
      }
      this.#endTurn(incarnation, envelope);
      const pause = budget.spend();
      if (pause !== undefined) await pause;
    }
  }

  #call(incarnation: Incarnation, envelope: Envelope): unknown {
    const { behaviour } = incarnation;
    const death = envelope.type === TERMINATED;
    // `toString` is no message, although every object has it.
    const handler = envelope.type in Object.prototype ? undefined : behaviour?.receive[envelope.type];
    if (handler === undefined && !death) throw unknownMessage(envelope.context);
    envelope.start();
    if (death) return behaviour?.terminated?.(envelope.request as Death, incarnation);
    return handler?.(envelope.request, incarnation, envelope);
  }

  /** A handler threw: the message's problem, or the actor's. */
  #failTurn(incarnation: Incarnation, envelope: Envelope, thrown: unknown): void {
    if (!(thrown instanceof AntiphonError)) {
      this.#blame(incarnation, envelope.type, thrown);
      envelope.reject(this.#lost(incarnation, envelope, thrown));
      return;
    }
    if (!envelope.wanted) this.#unheard(envelope.type, thrown);
    envelope.reject(thrown);
    for (const message of incarnation.taken) if (!message.deferred) message.reject(thrown);
  }

  /** Whatever the handler took and left lying is rejected, so that nobody waits in vain. */
  #endTurn(incarnation: Incarnation, envelope: Envelope): void {
    this.#handled += 1 + incarnation.taken.length;
    if (envelope.wanted) incarnation.taken.push(envelope);
    if (incarnation.taken.length === 0) return;
    for (const message of incarnation.taken) {
      if (message.deferred || !message.wanted) continue;
      message.reject(incarnation.ending ? this.#lost(incarnation, message) : unanswered(message.context));
    }
    incarnation.taken = [];
  }

  async #finish(incarnation: Incarnation): Promise<Verdict> {
    const verdict = this.#judge(incarnation);
    if (await incarnation.children.stop(this.#deadline.atMs)) incarnation.abandoned = true;
    try {
      const stopping = incarnation.behaviour?.stopped?.(ending(incarnation, verdict));
      if (isPromise(stopping)) await this.#deadline.bounded(stopping);
    } catch (error) {
      this.#blame(incarnation, 'stopped', error);
    }
    for (const message of this.mailbox.deferred()) message.reject(this.#lost(incarnation, message));
    if (verdict.type !== 'restart') return verdict;
    this.#deadline.clear();
    if (!incarnation.abandoned) return verdict;
    this.#close(); // What could not be ended must not run beside its successor.
    return { type: 'escalate' };
  }

  #judge(incarnation: Incarnation): Verdict {
    const { failure } = incarnation;
    if (failure === undefined) return { type: 'stop' };
    const verdict: Verdict = this.#closing ? { type: 'stop' } : this.#supervisor.crashed();
    const delay = verdict.type === 'restart' ? { restartInMs: verdict.delayMs } : {};
    this.kernel.emit({ type: 'crashed', path: this.path, error: failure.error, ...delay });
    if (verdict.type !== 'restart') this.#close();
    return verdict;
  }

  async #backOff(delayMs: number): Promise<void> {
    if (this.#closing) return;
    await new Promise<void>((resolve) => {
      const timer = this.kernel.clock.setTimer(delayMs, resolve);
      this.#endBackOff = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#endBackOff = undefined;
    if (!this.#closing) this.#restarts++;
  }

  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    for (let message = this.mailbox.take(); message !== undefined; message = this.mailbox.take()) {
      message.reject(actorStopped(message.context));
    }
  }

  #blame(incarnation: Incarnation, during: string, thrown: unknown): void {
    if (thrown === ABANDONED) {
      incarnation.abandoned = true;
      this.kernel.emit({ type: 'abandoned', path: this.path, during });
    } else if (incarnation.ending) {
      this.#unheard(during, thrown);
    } else {
      incarnation.crash(thrown);
    }
  }

  #lost(incarnation: Incarnation, message: Envelope, thrown?: unknown): AntiphonError {
    const cause = thrown === undefined || thrown === ABANDONED ? incarnation.failure?.error : thrown;
    return cause === undefined ? actorStopped(message.context) : actorCrashed(message.context, cause);
  }

  #unheard(during: string, error: unknown): void {
    this.kernel.emit({ type: 'unheard', path: this.path, during, error });
  }

  #announceEnd(): void {
    const reason = this.#reason;
    if (reason === undefined) return;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) {
      try {
        listener({ path: this.path, reason });
      } catch (error) {
        this.#unheard('a listener of its end', error);
      }
    }
  }
}

function ending({ failure }: Incarnation, verdict: Verdict): Ending {
  if (failure === undefined) return { type: 'stopped' };
  return { type: verdict.type === 'restart' ? 'restarting' : 'crashed', error: failure.error };
}
