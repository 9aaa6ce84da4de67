import type { Clock, Timer } from '@antiphon/core';
import type { MailboxOptions } from './mailbox.js';
import type { NoReply } from './no-reply.js';
import type { MessageType, Protocol, Ref, ReplyOf, RequestOf } from './protocol.js';
import type { Supervision } from './supervision.js';

/** A message taken from the mailbox. Answered once; later answers are ignored. */
export interface Received<P, K extends MessageType<P>> {
  readonly type: K;
  readonly request: RequestOf<P, K>;
  /**
   * False once nobody waits for an answer: a tell, or an ask that was answered, timed out or
   * aborted.
   */
  readonly wanted: boolean;
  reply(value: ReplyOf<P, K>): NoReply;
  /** Refuses the message; the actor lives. */
  reject(error: Error): NoReply;
  /**
   * The answer comes after the handler has ended. Until then the message keeps its place in its
   * lane's capacity; when the actor restarts or stops first, it is rejected.
   */
  defer(): NoReply;
}

export type Handler<P extends Protocol<P>, K extends MessageType<P>> = (
  request: RequestOf<P, K>,
  context: Context<P>,
  message: Received<P, K>,
) => ReplyOf<P, K> | NoReply | Promise<ReplyOf<P, K> | NoReply>;

export type Handlers<P extends Protocol<P>> = { readonly [K in MessageType<P>]: Handler<P, K> };

/** Why an actor is gone for good. */
export type EndReason = { readonly type: 'stopped' } | { readonly type: 'crashed'; readonly error: unknown };

/** Why one incarnation is over. */
export type Ending = EndReason | { readonly type: 'restarting'; readonly error: unknown };

/** The notice that a watched actor has ended. */
export interface Death {
  readonly path: string;
  readonly reason: EndReason;
}

/**
 * What an actor does, made by a factory: one object per incarnation, so that a restart begins with
 * fresh state. Methods are called one at a time; the next message waits for the promise of the
 * last.
 *
 * What a handler returns is the answer. What it throws decides who has a problem:
 * - an AntiphonError: the message. The asker gets it and the actor goes on (nobody asked: it is an
 *   `unheard` event).
 * - anything else (or `context.crash(error)`): the actor. The asker gets ACTOR_STOPPED with the
 *   cause, and supervision decides. Any throw of `started` is a crash.
 */
export interface Behaviour<P extends Protocol<P>> {
  readonly receive: Handlers<P>;
  /** First, and again after each restart; messages wait for it. */
  started?(context: Context<P>): void | Promise<void>;
  /** An actor that this one watches has ended. */
  terminated?(death: Death, context: Context<P>): void | Promise<void>;
  /**
   * Last, after the children have stopped; also before each restart. Release what `started` took.
   */
  stopped?(reason: Ending): void | Promise<void>;
}

export interface SpawnOptions<P> {
  /**
   * The lanes of its mailbox.
   * @defaultValue one lane of 10 000 messages
   */
  readonly mailbox?: MailboxOptions<P>;
  /**
   * What becomes of it when it crashes.
   * @defaultValue `DEFAULT_SUPERVISION`, a restart
   */
  readonly supervision?: Supervision;
}

export interface ActorStats {
  readonly waiting: number;
  readonly handled: number;
  /** Tells and asks that were refused because a lane was full or the actor had ended. */
  readonly dropped: number;
  readonly restarts: number;
}

/** Something whose end can be waited for. */
export interface Watchable {
  readonly path: string;
  /** Called once, later, after the actor ended; also when it ended before this call. */
  onEnd(listener: (death: Death) => void): Timer;
}

/** An actor of this process. */
export interface ActorRef<P extends Protocol<P>> extends Ref<P>, Watchable {
  /**
   * Refuses new messages, rejects waiting ones, lets the one in progress finish, stops the
   * children, then the actor. Idempotent and bounded: after `timeoutMs` (the system's
   * `stopTimeoutMs`) what still runs is abandoned. Don't wait for it in a handler of the same
   * actor: use `context.stop()`.
   */
  stop(options?: { readonly timeoutMs?: number }): Promise<void>;
  readonly stats: ActorStats;
}

/**
 * What a behaviour can use. Belongs to one incarnation: afterwards it throws ACTOR_STOPPED or does
 * nothing.
 */
export interface Context<P extends Protocol<P>> {
  readonly path: string;
  readonly self: ActorRef<P>;
  readonly clock: Clock;
  /** Aborted as soon as this incarnation is to end: pass it to everything that waits. */
  readonly signal: AbortSignal;

  /** The child stops before this actor does, and whenever this actor restarts. */
  spawn<C extends Protocol<C>>(
    name: string,
    create: () => Behaviour<C>,
    options?: SpawnOptions<C>,
  ): ActorRef<C>;
  /** `behaviour.terminated` is called once when `target` has ended; at once if it has already. */
  watch(target: Watchable): Timer;

  /**
   * Sends to itself later. Timers end with the incarnation. A message of a timer is never lost to a
   * full lane, and `cancel` also withdraws one that fired but still waits.
   */
  after<K extends MessageType<P>>(delayMs: number, type: K, request: RequestOf<P, K>): Timer;
  /** As `after`, again and again; a tick is left out while the last one still waits. */
  every<K extends MessageType<P>>(intervalMs: number, type: K, request: RequestOf<P, K>): Timer;

  /**
   * Takes up to `limit` waiting messages of one type into this turn, oldest first, past waiting
   * messages of other types (a type that is taken in groups does best in a lane of its own). Each
   * must be answered or deferred in this turn; one that is not is rejected, with what the handler
   * threw if it did.
   */
  takeWaiting<K extends MessageType<P>>(type: K, limit: number): readonly Received<P, K>[];

  stop(): void;
  /** Ends this incarnation after the current turn as if the handler had crashed with `error`. */
  crash(error: unknown): NoReply;
}
