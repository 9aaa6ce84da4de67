import type { Timer } from '@antiphon/core';
import type { ActorRef, ActorStats, Death } from './behaviour.js';
import type { Cell } from './cell.js';
import { Envelope } from './envelope.js';
import type { AskOptions, Untyped } from './protocol.js';

/** What others hold of an actor. */
export class LocalRef implements ActorRef<Untyped> {
  readonly path: string;
  readonly #cell: Cell;

  constructor(cell: Cell) {
    this.path = cell.path;
    this.#cell = cell;
  }

  tell(type: string, request?: unknown): boolean {
    return this.#cell.offer(new Envelope(type, request, this.path)) === undefined;
  }

  ask(type: string, request?: unknown, options: AskOptions = {}): Promise<unknown> {
    const { clock, askTimeoutMs } = this.#cell.kernel;
    return new Promise((resolve, reject) => {
      const envelope = new Envelope(type, request, this.path, { resolve, reject });
      envelope.limit(clock, options.timeoutMs ?? askTimeoutMs, options.signal);
      if (envelope.settled) return;
      const refusal = this.#cell.offer(envelope);
      if (refusal !== undefined) envelope.reject(refusal(envelope.context));
    });
  }

  async stop(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const { clock, stopTimeoutMs } = this.#cell.kernel;
    await this.#cell.stop(clock.monotonicMs() + (options.timeoutMs ?? stopTimeoutMs));
  }

  onEnd(listener: (death: Death) => void): Timer {
    return this.#cell.onEnd(listener);
  }

  get stats(): ActorStats {
    return this.#cell.stats;
  }
}
