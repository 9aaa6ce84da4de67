import type { RegisterValue } from './operation.js';
import { Configuration } from './configuration.js';
import { hasIncrements, type RegisterHistory, type Step } from './register-history.js';
import { ValueIndex } from './value-index.js';

export type SearchOutcome = 'found' | 'none' | 'limit';

/** How much of a search may still be explored; shared by the searches of one key. */
export interface SearchBudget {
  states: number;
}

/**
 * Is there an order of the operations that respects which of them ended before which began, and in
 * which every read returns what the register holds? The search of Wing & Gong ("Testing and
 * verifying concurrent objects", 1993) with Lowe's memoisation ("Testing for linearizability",
 * 2017): where the same operations have taken effect and the register holds the same, what comes
 * next is the same, so each such pair is explored once. Porcupine and Knossos do the same.
 *
 * For registers much of the search is not needed; each rule says why nothing is missed.
 */
export function searchOrder(history: RegisterHistory, budget: SearchBudget): SearchOutcome {
  return new OrderSearch(history, budget).run();
}

class OrderSearch {
  readonly #required: readonly Step[];
  readonly #optional: readonly Step[];
  readonly #values: ValueIndex;
  /**
   * Increments make values that nobody wrote: then only the rules hold that do not ask where a
   * value comes from.
   */
  readonly #isPlain: boolean;
  readonly #initialValue: RegisterValue;
  readonly #budget: SearchBudget;

  constructor({ steps, initialValue }: RegisterHistory, budget: SearchBudget) {
    this.#required = steps.filter(({ completedAtMs }) => completedAtMs !== Infinity);
    this.#isPlain = !hasIncrements(steps);
    const optional = steps.filter(({ completedAtMs }) => completedAtMs === Infinity);
    this.#optional = this.#isPlain ? withoutUnread(optional, this.#required) : optional;
    this.#values = new ValueIndex(this.#required, this.#optional);
    this.#initialValue = initialValue;
    this.#budget = budget;
  }

  run(): SearchOutcome {
    const seen = new Set<string>();
    // Children are made when their turn comes: most never get one.
    const open: (() => Configuration)[] = [() => Configuration.start(this.#required, this.#initialValue)];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const configuration = this.#absorbReads(next());
      if (configuration.isComplete) return 'found';
      const name = configuration.name;
      if (seen.has(name)) continue;
      seen.add(name);
      const children = this.#children(configuration);
      this.#budget.states -= 1 + children.length;
      if (this.#budget.states < 0) return 'limit';
      for (const child of children.reverse()) open.push(child);
    }
    return 'none';
  }

  /**
   * A read that may come next and returns what the register holds comes next: it changes nothing,
   * so that any order in which it comes later stays right when it is moved here.
   */
  #absorbReads(start: Configuration): Configuration {
    let configuration = start;
    for (;;) {
      const { value } = configuration;
      const reads = configuration.candidates.filter((index) => {
        const effect = this.#required[index]?.effect;
        return effect?.kind === 'read' && effect.value === value;
      });
      if (reads.length === 0) return configuration;
      configuration = configuration.afterRequired(reads, value);
    }
  }

  /** What may come next, most promising first. */
  #children(configuration: Configuration): (() => Configuration)[] {
    const changes = configuration.candidates.filter((index) => this.#required[index]?.effect.kind !== 'read');
    if (this.#isPlain) {
      // Nobody writes this value again, so whoever reads it must do so before the next write; it
      // may not yet.
      const { value } = configuration;
      const isStillRead = this.#values.isStillRead(value, configuration);
      if (isStillRead && !this.#values.isStillWritten(value, configuration)) return [];
      // A write that nobody will read comes next. In any order in which it comes later, a write
      // follows it (or nothing), and a write comes next (all reads that could are absorbed): moving
      // it here changes what no read returns.
      const unread = changes.find((index) => this.#isUnread(index, configuration));
      if (unread !== undefined) return [() => this.#afterRequired(configuration, unread)];
    }
    changes.sort((one, other) => this.#completionOf(one) - this.#completionOf(other));
    return [
      ...changes
        .filter((index) => isPossible(this.#required[index], configuration.value))
        .map((index) => () => this.#afterRequired(configuration, index)),
      ...this.#optionalChanges(configuration).map((index) => () => this.#afterOptional(configuration, index)),
    ];
  }

  #isUnread(index: number, configuration: Configuration): boolean {
    const effect = this.#required[index]?.effect;
    return effect?.kind === 'write' && !this.#values.isStillRead(effect.value, configuration);
  }

  /**
   * Unknown operations that may take effect now. Of equal ones the first stands for all. Without
   * increments a write that may be left out matters only directly before a read of it: whatever
   * else follows it is a write.
   */
  #optionalChanges(configuration: Configuration): readonly number[] {
    const wanted = new Set<RegisterValue>();
    for (const index of configuration.candidates) {
      const effect = this.#required[index]?.effect;
      if (effect?.kind === 'read') wanted.add(effect.value);
    }
    const tried = new Set<string>();
    const found: number[] = [];
    for (const [index, step] of this.#optional.entries()) {
      if (step.invokedAtMs > configuration.earliestCompletionMs) break;
      if (configuration.used.includes(index) || !isPossible(step, configuration.value)) continue;
      const { effect } = step;
      if (this.#isPlain && effect.kind === 'write' && !wanted.has(effect.value)) continue;
      const name = JSON.stringify(effect);
      if (tried.has(name)) continue;
      tried.add(name);
      found.push(index);
    }
    return found;
  }

  #afterRequired(configuration: Configuration, index: number): Configuration {
    return configuration.afterRequired([index], valueAfter(this.#required[index], configuration.value));
  }

  #afterOptional(configuration: Configuration, index: number): Configuration {
    return configuration.afterOptional(index, valueAfter(this.#optional[index], configuration.value));
  }

  #completionOf(index: number): number {
    return this.#required[index]?.completedAtMs ?? Infinity;
  }
}

/**
 * An unknown write that nobody read need not have happened: in any order with it, what follows it
 * is a write.
 */
function withoutUnread(optional: readonly Step[], required: readonly Step[]): readonly Step[] {
  const read = new Set<RegisterValue>();
  for (const { effect } of required) if (effect.kind === 'read') read.add(effect.value);
  return optional.filter(({ effect }) => effect.kind === 'write' && read.has(effect.value));
}

/**
 * Can the change happen to a register that holds this? An increment of a text cannot, nor one with
 * another result.
 */
function isPossible(step: Step | undefined, value: RegisterValue): boolean {
  if (step?.effect.kind !== 'increment') return true;
  if (value !== null && typeof value !== 'number') return false;
  const { by, result } = step.effect;
  return result === undefined || (value ?? 0) + by === result;
}

function valueAfter(step: Step | undefined, value: RegisterValue): RegisterValue {
  switch (step?.effect.kind) {
    case 'write':
      return step.effect.value;
    case 'increment':
      return (typeof value === 'number' ? value : 0) + step.effect.by;
    default:
      return value;
  }
}
