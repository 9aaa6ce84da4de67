import { AntiphonError, checkRequired, type OptionNames } from '@antiphon/core';
import type { Completion, Operation, OperationRecord } from './operation.js';
import { validateRecord } from './record-format.js';

/** Where a history takes its time from. */
export interface HistoryOptions {
  /**
   * The time in milliseconds, never going back. To merge what several processes of one machine
   * recorded, they need one clock: `() => performance.timeOrigin + performance.now()`. `timeOrigin`
   * is read from the wall clock when a process starts, so a wall clock that was set in between puts
   * processes apart: tell the checker by `clockErrorMs`, or take
   * `() => Number(process.hrtime.bigint()) / 1e6`, which on Linux is one clock for the whole
   * machine. Times that are equal count as overlapping, so a coarse clock hides violations but
   * never invents one.
   */
  readonly now: () => number;
}

const HISTORY_OPTIONS: OptionNames<HistoryOptions> = { now: true };

/** Stands for one operation that is under way. */
export interface OperationHandle {
  readonly process: string;
  readonly id: number;
}

/**
 * Records who did what, when, and what came back. What was never completed counts as unknown.
 *
 * ```ts
 * const history = new History({ now: () => performance.timeOrigin + performance.now() });
 * const handle = history.invoke('client-1', { kind: 'write', key: 'a', value: 7 });
 * // … the write itself …
 * history.complete(handle, { type: 'ok' });
 * const result = checkLinearizable(history.records());
 * ```
 */
export class History {
  readonly #now: () => number;
  readonly #records = new Map<OperationHandle, OperationRecord>();
  readonly #nextIds = new Map<string, number>();

  constructor(options: HistoryOptions) {
    checkRequired(options, HISTORY_OPTIONS, 'History', ['now']);
    this.#now = options.now;
  }

  /** Call it directly before the operation starts. */
  invoke(process: string, operation: Operation): OperationHandle {
    const id = this.#nextIds.get(process) ?? 0;
    const handle = { process, id };
    const record = {
      process,
      id,
      operation,
      invokedAtMs: this.#now(),
      completion: { type: 'unknown' } as const,
    };
    validateRecord(record);
    this.#nextIds.set(process, id + 1);
    this.#records.set(handle, record);
    return handle;
  }

  /**
   * Call it directly after the operation ended, once. Returns the record, for whoever writes lines
   * as they come.
   */
  complete(handle: OperationHandle, completion: Completion): OperationRecord {
    const record = this.record(handle);
    if (record.completedAtMs !== undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `Operation ${handle.process}#${handle.id} was completed before. Complete it once.`,
      );
    }
    // Without a time: whatever it did may still come.
    if (completion.type === 'unknown') return record;
    const completed = { ...record, completedAtMs: this.#now(), completion };
    validateRecord(completed);
    this.#records.set(handle, completed);
    return completed;
  }

  record(handle: OperationHandle): OperationRecord {
    const record = this.#records.get(handle);
    if (record === undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `This history did not invoke ${handle.process}#${handle.id}. Pass a handle that its invoke() returned.`,
      );
    }
    return record;
  }

  /** Everything so far, in the order of invocation. */
  records(): readonly OperationRecord[] {
    return [...this.#records.values()];
  }
}
