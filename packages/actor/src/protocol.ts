import type { OptionNames } from '@antiphon/core';

/**
 * What an actor understands: one function type per message, from what travels with it to what comes
 * back.
 *
 *     interface Account {
 *       deposit(amount: number): number;   // ask('deposit', 5) resolves to a number
 *       audit(): void;                     // ask('audit'), tell('audit')
 *     }
 *
 * Used as a constraint, `P extends Protocol<P>`, so that interfaces and type aliases both fit.
 */
export type Protocol<P> = { readonly [K in keyof P]: (request: never) => unknown };

/**
 * The view of the kernel, which handles messages of any protocol. Types begin and end at references
 * and behaviours.
 */
export type Untyped = Record<string, (request: unknown) => unknown>;

export type MessageType<P> = keyof P & string;

/** What travels with a message; `undefined` for a function without a parameter. */
export type RequestOf<P, K extends keyof P> = P[K] extends (...args: infer A) => unknown
  ? A extends []
    ? undefined
    : P[K] extends (request: infer R) => unknown
      ? R
      : never
  : never;

/** What comes back, without the promise around it. */
export type ReplyOf<P, K extends keyof P> = P[K] extends (request: never) => infer R ? Awaited<R> : never;

/** A message as data: a union discriminated by `type`. */
export type Message<P> = {
  [K in MessageType<P>]: { readonly type: K; readonly request: RequestOf<P, K> };
}[MessageType<P>];

export interface AskOptions {
  /**
   * From the call to the reply, in milliseconds. `Infinity`: only `signal` or the actor's end.
   * @defaultValue the system's `askTimeoutMs`
   */
  readonly timeoutMs?: number;
  /** Ends the wait: ABORTED, with the reason as its `cause`. */
  readonly signal?: AbortSignal;
}

export const ASK_OPTIONS: OptionNames<AskOptions> = { timeoutMs: true, signal: true };

type TellArguments<R> = undefined extends R ? [request?: R] : [request: R];
type AskArguments<R> = undefined extends R
  ? [request?: R, options?: AskOptions]
  : [request: R, options?: AskOptions];

/** Never has a value. Makes references of different protocols different types. */
declare const PROTOCOL: unique symbol;

/**
 * Where messages for one actor go, in this process (`ActorRef`) or in another (`remoteRef`). From
 * one sender to one lane of one actor, messages arrive in the order they were sent. Requests are
 * not copied locally: don't change them.
 */
export interface Ref<P extends Protocol<P>> {
  readonly [PROTOCOL]?: P;
  readonly path: string;

  /**
   * Sends without an answer. Never throws and never waits. `false`: certainly not delivered, since
   * the mailbox is full or the actor has ended (counted in its `dropped`); tells are called from
   * timers and subscriptions, where being refused is an ordinary thing that a throw would make
   * fatal. `true` promises no more than a place in the mailbox (of a remote actor: that it was
   * handed to the bus).
   */
  tell<K extends MessageType<P>>(type: K, ...args: TellArguments<RequestOf<P, K>>): boolean;

  /**
   * Sends and waits for the answer. Rejects with an AntiphonError: OVERLOADED (mailbox full),
   * TIMEOUT, ABORTED, ACTOR_STOPPED, or what the actor answered. Of a local actor,
   * `error.context.started === false` means that the message was never handled and never will be;
   * otherwise it may have had its effect.
   */
  ask<K extends MessageType<P>>(type: K, ...args: AskArguments<RequestOf<P, K>>): Promise<ReplyOf<P, K>>;
}
