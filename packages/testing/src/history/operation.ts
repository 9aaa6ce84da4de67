/**
 * What a register can hold. `null` is "nothing there": never written, or deleted. Numbers are
 * finite.
 */
export type RegisterValue = string | number | boolean | null;

/** One operation on the register (the row, the cell) that `key` names. */
export type Operation =
  | { readonly kind: 'read'; readonly key: string }
  /** Writing `null` deletes. */
  | { readonly kind: 'write'; readonly key: string; readonly value: RegisterValue }
  /** Adds to a number; nothing there counts as 0. */
  | { readonly kind: 'increment'; readonly key: string; readonly by: number };

/** How an operation ended, as its caller knows it. */
export type Completion =
  | {
      readonly type: 'ok';
      /**
       * What a read returned (required there), or the number after an increment, where the caller
       * learnt it.
       */
      readonly value?: RegisterValue;
      /**
       * The version a write got or a read saw; only {@link checkSession} needs it. Higher is later,
       * per key.
       */
      readonly version?: number;
    }
  /** It certainly did not happen and never will. */
  | { readonly type: 'failed' }
  /**
   * It may have happened at any time since its invocation, may happen later, or never. When in
   * doubt, this one.
   */
  | { readonly type: 'unknown' };

/** One operation of a history, with the time it took. */
export interface OperationRecord {
  /** Who called: a session, one client. Unique among everybody whose histories are merged. */
  readonly process: string;
  /** Counts the operations of this process in the order of their invocations. */
  readonly id: number;
  readonly operation: Operation;
  readonly invokedAtMs: number;
  /** Absent exactly when the completion is unknown. */
  readonly completedAtMs?: number;
  readonly completion: Completion;
}
