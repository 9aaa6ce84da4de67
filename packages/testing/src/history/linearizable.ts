import { checkOptions, type OptionNames } from '@antiphon/core';
import type { OperationRecord, RegisterValue } from './operation.js';
import { failureText } from './failure-text.js';
import { searchOrder, type SearchBudget } from './order-search.js';
import { validateRecord } from './record-format.js';
import { registerHistory, type RegisterHistory } from './register-history.js';
import { smallestFailure } from './smallest-failure.js';

/** What a check of linearizability goes by, and its bounds. */
export interface LinearizableOptions {
  /**
   * What keys hold before the history begins; `null` (nothing) for those that it does not name.
   * @defaultValue nothing
   */
  readonly initialValues?: ReadonlyMap<string, RegisterValue>;
  /**
   * By how much the clocks of the recording processes may differ, in milliseconds.
   * @defaultValue 0
   */
  readonly clockErrorMs?: number;
  /**
   * A key with more operations is undecided.
   * @defaultValue 100 000
   */
  readonly maxOperationsPerKey?: number;
  /**
   * A key is undecided when its search takes more states (a few microseconds each, plus memory). As
   * many again may go into the explanation.
   * @defaultValue 1 000 000
   */
  readonly maxStatesPerKey?: number;
}

const OPTIONS: OptionNames<LinearizableOptions> = {
  ...{ initialValues: true, clockErrorMs: true, maxOperationsPerKey: true, maxStatesPerKey: true },
};

/** What the check found. */
export type LinearizableResult =
  | { readonly linearizable: true }
  | {
      readonly linearizable: false;
      readonly key: string;
      /** Plain text, several lines: the contradiction with the operations that make it. */
      readonly explanation: string;
      /** The operation whose result no order explains; everything that ended before it has one. */
      readonly culprit: OperationRecord;
      /** A smallest set of operations that contradict each other, in the order of invocation. */
      readonly operations: readonly OperationRecord[];
    }
  /** A limit ended the search. Compare with `true`: this is neither a proof nor a contradiction. */
  | { readonly linearizable: 'undecided'; readonly key: string; readonly reason: string };

/**
 * Checks that every operation can have taken effect at one instant between its invocation and its
 * completion (Herlihy & Wing, "Linearizability", 1990). Each key is checked by itself: a history is
 * linearizable when each of its objects is (their theorem of locality).
 *
 * Unknown writes and increments may take effect at any time from their invocation on, or never, but
 * not twice, and what was once seen of them stays. Failed operations must have no effect.
 * Operations whose times touch count as overlapping. A contradiction in one key is reported even
 * when another key is undecided.
 */
export function checkLinearizable(
  records: readonly OperationRecord[],
  options: LinearizableOptions = {},
): LinearizableResult {
  checkOptions(options, OPTIONS, 'checkLinearizable()');
  let undecided: LinearizableResult | undefined;
  for (const [key, ofKey] of recordsByKey(records)) {
    const result = checkKey(key, ofKey, options);
    if (result.linearizable === false) return result;
    if (result.linearizable === 'undecided') undecided ??= result;
  }
  return undecided ?? { linearizable: true };
}

function checkKey(
  key: string,
  records: readonly OperationRecord[],
  options: LinearizableOptions,
): LinearizableResult {
  const { maxOperationsPerKey = 100_000, maxStatesPerKey = 1_000_000 } = options;
  if (records.length > maxOperationsPerKey) {
    const reason = `key ${JSON.stringify(key)} has ${records.length} operations, more than maxOperationsPerKey (${maxOperationsPerKey})`;
    return { linearizable: 'undecided', key, reason };
  }
  const history = registerHistory(records, {
    initialValue: options.initialValues?.get(key) ?? null,
    clockErrorMs: options.clockErrorMs ?? 0,
  });
  const outcome = searchOrder(history, { states: maxStatesPerKey });
  switch (outcome) {
    case 'found':
      return { linearizable: true };
    case 'limit': {
      const reason = `the search for key ${JSON.stringify(key)} took more than maxStatesPerKey (${maxStatesPerKey}) states; use more keys or fewer writers of one key`;
      return { linearizable: 'undecided', key, reason };
    }
    case 'none':
      return contradiction(key, records, history, { states: maxStatesPerKey });
  }
}

function contradiction(
  key: string,
  records: readonly OperationRecord[],
  history: RegisterHistory,
  budget: SearchBudget,
): LinearizableResult {
  const failure = smallestFailure(history, budget);
  return {
    linearizable: false,
    key,
    explanation: failureText(key, records, failure),
    culprit: failure.culprit.record,
    operations: failure.core.map(({ record }) => record),
  };
}

function recordsByKey(records: readonly OperationRecord[]): ReadonlyMap<string, readonly OperationRecord[]> {
  const byKey = new Map<string, OperationRecord[]>();
  for (const record of records) {
    validateRecord(record);
    const { key } = record.operation;
    const ofKey = byKey.get(key);
    if (ofKey === undefined) byKey.set(key, [record]);
    else ofKey.push(record);
  }
  return byKey;
}
