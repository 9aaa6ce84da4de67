import type { Clock } from '@antiphon/core';
import type { ActorRef, Behaviour, EndReason, SpawnOptions } from './behaviour.js';
import type { Untyped } from './protocol.js';
import type { TurnBudget } from './turn-budget.js';

/** What an operator may want to know; the kernel itself logs nothing. */
export type ActorEvent =
  /** `restartInMs` is absent when supervision does not restart it. */
  | {
      readonly type: 'crashed';
      readonly path: string;
      readonly error: unknown;
      readonly restartInMs?: number;
    }
  | { readonly type: 'ended'; readonly path: string; readonly reason: EndReason }
  /** An error that nobody waits for: of a told message, or of a hook. */
  | { readonly type: 'unheard'; readonly path: string; readonly during: string; readonly error: unknown }
  /** A handler or hook did not end within the stop timeout and was left behind. */
  | { readonly type: 'abandoned'; readonly path: string; readonly during: string };

/** What all actors of one system share. */
export interface Kernel {
  readonly clock: Clock;
  readonly budget: TurnBudget;
  readonly askTimeoutMs: number;
  readonly stopTimeoutMs: number;
  createCell(
    path: string,
    create: () => Behaviour<Untyped>,
    options: SpawnOptions<Untyped>,
    family: Family,
  ): ChildCell;
  emit(event: ActorEvent): void;
}

/** An actor, as its parent sees it. */
export interface ChildCell {
  readonly ref: ActorRef<Untyped>;
  /**
   * Resolves when it has ended, at the latest soon after `deadlineMs` (monotonic): whether it left
   * something running.
   */
  stop(deadlineMs: number): Promise<boolean>;
}

/** Whom an actor tells about its end. */
export interface Family {
  ended(): void;
  escalate(cause: unknown): void;
}
