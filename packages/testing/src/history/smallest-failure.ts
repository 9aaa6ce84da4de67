import type { RegisterValue } from './operation.js';
import { searchOrder, type SearchBudget } from './order-search.js';
import { hasIncrements, prefixOf, type RegisterHistory, type Step } from './register-history.js';

/**
 * Beyond so many values that a read could perhaps have returned, an explanation does not say which.
 */
const MAX_VALUES_TRIED = 16;

export interface Failure {
  /** The operation at whose end it became impossible: until just before, an order existed. */
  readonly culprit: Step;
  /**
   * How many completed operations the shortest impossible beginning of the history has, the culprit
   * included.
   */
  readonly completedCount: number;
  /**
   * The few operations that are impossible by themselves; they contain the culprit where the budget
   * sufficed.
   */
  readonly core: readonly Step[];
  /** What the culprit, a read, could have returned. Undefined when that was not worked out. */
  readonly possibleValues: readonly RegisterValue[] | undefined;
}

/**
 * Why a history has no order, as small as it gets. Where the budget ends, what is found so far is
 * right but may not be the smallest. Every part shown is impossible by itself: an order of the
 * whole would contain an order of the part.
 */
export function smallestFailure(history: RegisterHistory, budget: SearchBudget): Failure {
  const completed = history.steps
    .filter(({ completedAtMs }) => completedAtMs !== Infinity)
    .sort((one, other) => one.completedAtMs - other.completedAtMs);
  const count = shortestImpossible(history, completed, budget);
  const culprit = completed[count - 1];
  if (culprit === undefined) throw new RangeError('an empty history has an order');
  const prefix = prefixOf(history, completed, count);
  return {
    culprit,
    completedCount: count,
    core: impossibleCore(prefix, budget).steps,
    possibleValues: possibleValues(prefix, culprit, budget),
  };
}

/**
 * The beginning of an impossible history may be possible; all that contain an impossible one are
 * impossible.
 */
function shortestImpossible(
  history: RegisterHistory,
  completed: readonly Step[],
  budget: SearchBudget,
): number {
  let possible = 0;
  let impossible = completed.length;
  while (impossible - possible > 1) {
    const middle = Math.floor((possible + impossible) / 2);
    if (searchOrder(prefixOf(history, completed, middle), budget) === 'none') impossible = middle;
    else possible = middle;
  }
  return impossible;
}

/**
 * Leaves out what is not needed for the contradiction: first values with everybody who wrote or
 * read them (what is left of an order is an order of what is left, since no read loses the write
 * before it), then single reads.
 */
function impossibleCore(prefix: RegisterHistory, budget: SearchBudget): RegisterHistory {
  const withoutValues = hasIncrements(prefix.steps)
    ? prefix
    : reduce(prefix, groupByValue(prefix.steps), budget);
  const reads = withoutValues.steps.filter(({ effect }) => effect.kind === 'read');
  return reduce(
    withoutValues,
    reads.map((read) => [read]),
    budget,
  );
}

/**
 * Delta debugging (Zeller & Hildebrandt 2002): drops ever smaller runs of groups while it stays
 * impossible.
 */
function reduce(
  history: RegisterHistory,
  groups: readonly (readonly Step[])[],
  budget: SearchBudget,
): RegisterHistory {
  let current = history;
  let left = groups;
  for (let size = Math.ceil(groups.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < left.length && left.length > 1;) {
      const dropped = new Set(left.slice(start, start + size).flat());
      const smaller = { ...current, steps: current.steps.filter((step) => !dropped.has(step)) };
      if (searchOrder(smaller, budget) === 'none') {
        current = smaller;
        left = [...left.slice(0, start), ...left.slice(start + size)];
      } else {
        start += size;
      }
    }
  }
  return current;
}

function groupByValue(steps: readonly Step[]): readonly (readonly Step[])[] {
  const groups = new Map<RegisterValue, Step[]>();
  for (const step of steps) {
    if (step.effect.kind === 'increment') continue;
    const group = groups.get(step.effect.value);
    if (group === undefined) groups.set(step.effect.value, [step]);
    else group.push(step);
  }
  return [...groups.values()];
}

function possibleValues(
  prefix: RegisterHistory,
  culprit: Step,
  budget: SearchBudget,
): readonly RegisterValue[] | undefined {
  if (culprit.effect.kind !== 'read' || hasIncrements(prefix.steps)) return undefined;
  const values = valuesNotOverwritten(prefix, culprit);
  if (values.size > MAX_VALUES_TRIED) return undefined;
  const possible: RegisterValue[] = [];
  for (const value of values) {
    const instead: Step = { ...culprit, effect: { kind: 'read', value } };
    const steps = prefix.steps.map((step) => (step === culprit ? instead : step));
    const outcome = searchOrder({ ...prefix, steps }, budget);
    if (outcome === 'limit') return undefined;
    if (outcome === 'found') possible.push(value);
  }
  return possible;
}

/** Values that were not certainly overwritten before the read began. */
function valuesNotOverwritten(
  { steps, initialValue }: RegisterHistory,
  read: Step,
): ReadonlySet<RegisterValue> {
  const writes = steps.filter(({ effect }) => effect.kind === 'write');
  let lastInvokedMs = -Infinity;
  for (const write of writes) {
    if (write.completedAtMs < read.invokedAtMs) lastInvokedMs = Math.max(lastInvokedMs, write.invokedAtMs);
  }
  const values = new Set<RegisterValue>(lastInvokedMs === -Infinity ? [initialValue] : []);
  for (const { effect, completedAtMs } of writes) {
    if (effect.kind === 'write' && completedAtMs >= lastInvokedMs) values.add(effect.value);
  }
  return values;
}
