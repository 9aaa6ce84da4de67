import { checkOptions, type AntiphonError, type Timer } from '@antiphon/core';
import type { ActorRef, ActorStats, Death } from './behaviour.js';
import { Envelope } from './envelope.js';
import type { MessageContext } from './errors.js';
import type { Kernel } from './kernel.js';
import { ASK_OPTIONS, type AskOptions, type Untyped } from './protocol.js';

/** The actor behind a reference. */
export interface Target {
  readonly kernel: Kernel;
  readonly path: string;
  readonly stats: ActorStats;
  /** Takes the message, or tells why not. */
  offer(envelope: Envelope): ((context: MessageContext) => AntiphonError) | undefined;
  stop(deadlineMs: number): Promise<boolean>;
  onEnd(listener: (death: Death) => void): Timer;
}

const STOP_OPTIONS = { timeoutMs: true };

/** What others hold of an actor. */
export class LocalRef implements ActorRef<Untyped> {
  readonly path: string;
  readonly #target: Target;

  constructor(target: Target) {
    this.path = target.path;
    this.#target = target;
  }

  tell(type: string, request?: unknown): boolean {
    return this.#target.offer(new Envelope(type, request, this.path)) === undefined;
  }

  ask(type: string, request?: unknown, options: AskOptions = {}): Promise<unknown> {
    const { clock, askTimeoutMs } = this.#target.kernel;
    return new Promise((resolve, reject) => {
      checkOptions(options, ASK_OPTIONS, 'ask()');
      const envelope = new Envelope(type, request, this.path, { resolve, reject });
      envelope.limit(clock, options.timeoutMs ?? askTimeoutMs, options.signal);
      if (envelope.settled) return;
      const refusal = this.#target.offer(envelope);
      if (refusal !== undefined) envelope.reject(refusal(envelope.context));
    });
  }

  async stop(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const { clock, stopTimeoutMs } = this.#target.kernel;
    checkOptions(options, STOP_OPTIONS, 'stop()');
    await this.#target.stop(clock.monotonicMs() + (options.timeoutMs ?? stopTimeoutMs));
  }

  onEnd(listener: (death: Death) => void): Timer {
    return this.#target.onEnd(listener);
  }

  get stats(): ActorStats {
    return this.#target.stats;
  }
}
