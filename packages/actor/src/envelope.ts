import { setMaxListeners } from 'node:events';
import type { AntiphonError, Clock, Timer } from '@antiphon/core';
import { NO_REPLY, type NoReply } from './no-reply.js';
import { askAborted, askTimedOut, type MessageContext } from './errors.js';

interface Asker {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Where deferred messages are kept until they are answered. */
export interface DeferredSet {
  add(envelope: Envelope): unknown;
  delete(envelope: Envelope): unknown;
}

/**
 * One message in its mailbox, and the promise of its asker if there is one. Untyped: types end at
 * the references.
 */
export class Envelope {
  started = false;
  /** Among those that are deferred. */
  place = -1;
  #request: unknown;
  #settled = false;
  #deferredIn: DeferredSet | undefined;
  #timer: Timer | undefined;
  #stopListening: (() => void) | undefined;

  constructor(
    readonly type: string,
    request: unknown,
    private readonly actor: string,
    private readonly asker?: Asker,
    private readonly onStart?: () => void,
  ) {
    this.#request = request;
  }

  /** Gone once it is answered. */
  get request(): unknown {
    return this.#request;
  }

  /** Set by the lane that took it. */
  home: DeferredSet | undefined;

  get settled(): boolean {
    return this.#settled;
  }

  get deferred(): boolean {
    return this.#deferredIn !== undefined;
  }

  get wanted(): boolean {
    return this.asker !== undefined && !this.#settled;
  }

  get context(): MessageContext {
    return { actor: this.actor, message: this.type, started: this.started };
  }

  /** Limits the asker's patience. Only once, for an ask. */
  limit(clock: Clock, timeoutMs: number, signal: AbortSignal | undefined): void {
    if (timeoutMs !== Infinity) {
      this.#timer = clock.setTimer(timeoutMs, () => this.reject(askTimedOut(this.context, timeoutMs)));
    }
    if (signal === undefined) return;
    if (signal.aborted) return void this.reject(askAborted(this.context, signal.reason));
    const giveUp = (): void => void this.reject(askAborted(this.context, signal.reason));
    // One signal may end any number of asks; each removes its listener, so the leak warning would
    // be false.
    setMaxListeners(0, signal);
    signal.addEventListener('abort', giveUp, { once: true });
    this.#stopListening = () => signal.removeEventListener('abort', giveUp);
  }

  start(): void {
    this.started = true;
    this.onStart?.();
  }

  reply(value: unknown): NoReply {
    if (this.#settle()) this.asker?.resolve(value);
    // Signals keep removed listeners, and so this object, linked: what it carried would live until
    // the next full collection.
    this.#request = undefined;
    return NO_REPLY;
  }

  reject(error: AntiphonError | Error): NoReply {
    if (this.#settle()) this.asker?.reject(error);
    return NO_REPLY;
  }

  defer(): NoReply {
    if (this.wanted && !this.deferred) {
      this.#deferredIn = this.home;
      this.#deferredIn?.add(this);
    }
    return NO_REPLY;
  }

  /** Takes back a message of a timer: if it still waits, it is skipped. */
  withdraw(): void {
    this.#settle();
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#timer?.cancel();
    this.#stopListening?.();
    this.#deferredIn?.delete(this);
    return true;
  }
}
