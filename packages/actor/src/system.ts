import { checkRequired, type Clock, type OptionNames } from '@antiphon/core';
import type { ActorRef, Behaviour, EndReason, SpawnOptions } from './behaviour.js';
import { Cell } from './cell.js';
import { Children } from './children.js';
import type { ActorEvent, Kernel } from './kernel.js';
import type { Protocol } from './protocol.js';
import { DEFAULT_TURN_BUDGET_MS, TurnBudget } from './turn-budget.js';

export interface ActorSystemOptions {
  /** Time, timers and chance. */
  readonly clock: Clock;
  /**
   * First token of every path.
   * @defaultValue 'actors'
   */
  readonly name?: string;
  /**
   * For asks without a timeout of their own, in milliseconds.
   * @defaultValue 5000
   */
  readonly askTimeoutMs?: number;
  /**
   * For stopping an actor with all its children, in milliseconds.
   * @defaultValue 5000
   */
  readonly stopTimeoutMs?: number;
  /**
   * How long actors may keep timers and I/O waiting, in milliseconds. One message that takes longer
   * still does.
   * @defaultValue 10
   */
  readonly turnBudgetMs?: number;
  /**
   * Told what happens to actors: crashes, ends, what nobody listened to. What it throws is dropped.
   */
  readonly onEvent?: (event: ActorEvent) => void;
}

const SYSTEM_OPTIONS: OptionNames<ActorSystemOptions> = {
  ...{ clock: true, name: true, askTimeoutMs: true, stopTimeoutMs: true, turnBudgetMs: true, onEvent: true },
};

/** The root of a tree of actors. Several may share a process, each with its own clock. */
export class ActorSystem implements AsyncDisposable {
  /**
   * Resolves, never rejects, when the system was stopped, or a top-level actor escalated and
   * everything was stopped.
   */
  readonly terminated: Promise<EndReason>;
  readonly #children: Children;
  readonly #kernel: Kernel;
  #terminate: (reason: EndReason) => void = () => undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: ActorSystemOptions) {
    checkRequired(options, SYSTEM_OPTIONS, 'ActorSystem', ['clock']);
    const { clock, name = 'actors', onEvent, askTimeoutMs = 5000, stopTimeoutMs = 5000 } = options;
    this.#kernel = {
      clock,
      budget: new TurnBudget(clock, options.turnBudgetMs ?? DEFAULT_TURN_BUDGET_MS),
      askTimeoutMs,
      stopTimeoutMs,
      createCell: (...cell) => new Cell(this.#kernel, ...cell),
      emit: (event) => {
        try {
          onEvent?.(event);
        } catch {
          // An observer must not change what it observes, and there is nobody left to tell.
        }
      },
    };
    this.#children = new Children(this.#kernel, name, (error) => void this.#stop({ type: 'crashed', error }));
    this.terminated = new Promise((resolve) => (this.#terminate = resolve));
  }

  /**
   * As `Context.spawn`, for a top-level actor. Throws BAD_OPTION, and ACTOR_STOPPED once the system
   * is stopping.
   */
  spawn<P extends Protocol<P>>(
    name: string,
    create: () => Behaviour<P>,
    options?: SpawnOptions<P>,
  ): ActorRef<P> {
    return this.#children.spawn(name, create, options);
  }

  /**
   * Stops every actor, children first. Idempotent; resolves at the latest soon after
   * `stopTimeoutMs`.
   */
  stop(): Promise<void> {
    return this.#stop({ type: 'stopped' });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #stop(reason: EndReason): Promise<void> {
    this.#stopping ??= this.#children
      .stop(this.#kernel.clock.monotonicMs() + this.#kernel.stopTimeoutMs)
      .then(() => this.#terminate(reason));
    return this.#stopping;
  }
}
