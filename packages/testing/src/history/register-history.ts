import { byInvocation } from './json-lines.js';
import type { OperationRecord, RegisterValue } from './operation.js';

/** What an operation says about its register. */
export type Effect =
  | { readonly kind: 'read'; readonly value: RegisterValue }
  | { readonly kind: 'write'; readonly value: RegisterValue }
  | { readonly kind: 'increment'; readonly by: number; readonly result: number | undefined };

/** One operation as the search for an order sees it. */
export interface Step {
  readonly record: OperationRecord;
  readonly effect: Effect;
  readonly invokedAtMs: number;
  /** Infinity: it may take effect at any time since its invocation, or never. */
  readonly completedAtMs: number;
}

/** The operations of one register, in the order of their invocations. */
export interface RegisterHistory {
  readonly initialValue: RegisterValue;
  readonly steps: readonly Step[];
}

export interface RegisterHistoryOptions {
  readonly initialValue: RegisterValue;
  readonly clockErrorMs: number;
}

/**
 * What of the records of one key can matter: not what failed, not reads that nobody saw the result
 * of. Completions move later by the clock error, so that operations count as one after the other
 * only where that is certain.
 */
export function registerHistory(
  records: readonly OperationRecord[],
  { initialValue, clockErrorMs }: RegisterHistoryOptions,
): RegisterHistory {
  const steps: Step[] = [];
  for (const record of [...records].sort(byInvocation)) {
    const effect = effectOf(record);
    if (effect === undefined) continue;
    const completedAtMs = (record.completedAtMs ?? Infinity) + clockErrorMs;
    steps.push({ record, effect, invokedAtMs: record.invokedAtMs, completedAtMs });
  }
  return { initialValue, steps };
}

function effectOf({ operation, completion }: OperationRecord): Effect | undefined {
  if (completion.type === 'failed') return undefined;
  const returned = completion.type === 'ok' ? completion.value : undefined;
  switch (operation.kind) {
    case 'read':
      return returned === undefined ? undefined : { kind: 'read', value: returned };
    case 'write':
      return { kind: 'write', value: operation.value };
    case 'increment':
      return {
        kind: 'increment',
        by: operation.by,
        result: typeof returned === 'number' ? returned : undefined,
      };
  }
}

export function hasIncrements(steps: readonly Step[]): boolean {
  return steps.some(({ effect }) => effect.kind === 'increment');
}

/**
 * The history as it was when `last` had just completed; `completed` are the steps in the order of
 * completion. What was under way by then is unknown: its writes may have taken effect, its reads
 * say nothing yet.
 */
export function prefixOf(
  history: RegisterHistory,
  completed: readonly Step[],
  count: number,
): RegisterHistory {
  const required = new Set(completed.slice(0, count));
  const endMs = completed[count - 1]?.completedAtMs ?? -Infinity;
  const steps: Step[] = [];
  for (const step of history.steps) {
    if (required.has(step)) steps.push(step);
    else if (step.invokedAtMs <= endMs && step.effect.kind !== 'read') {
      steps.push({ ...step, effect: withoutResult(step.effect), completedAtMs: Infinity });
    }
  }
  return { ...history, steps };
}

function withoutResult(effect: Effect): Effect {
  return effect.kind === 'increment' ? { ...effect, result: undefined } : effect;
}
