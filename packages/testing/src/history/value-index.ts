import type { Configuration } from './configuration.js';
import type { RegisterValue } from './operation.js';
import type { Step } from './register-history.js';

/** Who reads and writes a value, to tell which of them are left. */
export class ValueIndex {
  readonly #required: readonly Step[];
  readonly #optional: readonly Step[];
  readonly #lastRead = new Map<RegisterValue, number>();
  readonly #lastWrite = new Map<RegisterValue, number>();
  readonly #unknownWrites = new Map<RegisterValue, number>();

  constructor(required: readonly Step[], optional: readonly Step[]) {
    this.#required = required;
    this.#optional = optional;
    for (const [index, { effect }] of required.entries()) {
      if (effect.kind === 'read') this.#lastRead.set(effect.value, index);
      if (effect.kind === 'write') this.#lastWrite.set(effect.value, index);
    }
    for (const { effect } of optional) {
      if (effect.kind === 'write')
        this.#unknownWrites.set(effect.value, 1 + (this.#unknownWrites.get(effect.value) ?? 0));
    }
  }

  isStillRead(value: RegisterValue, configuration: Configuration): boolean {
    return this.#isLeft('read', value, this.#lastRead.get(value), configuration);
  }

  isStillWritten(value: RegisterValue, configuration: Configuration): boolean {
    if (this.#isLeft('write', value, this.#lastWrite.get(value), configuration)) return true;
    const unknownWrites = this.#unknownWrites.get(value);
    if (unknownWrites === undefined) return false;
    const used = configuration.used.filter((index) => hasEffect(this.#optional[index], 'write', value));
    return used.length < unknownWrites;
  }

  #isLeft(
    kind: 'read' | 'write',
    value: RegisterValue,
    last: number | undefined,
    configuration: Configuration,
  ): boolean {
    if (last === undefined) return false;
    // When the last one took effect or is pending, what is left of the others is pending too.
    return (
      configuration.isLeft(last) ||
      configuration.pending.some((index) => hasEffect(this.#required[index], kind, value))
    );
  }
}

function hasEffect(step: Step | undefined, kind: 'read' | 'write', value: RegisterValue): boolean {
  return step?.effect.kind === kind && step.effect.value === value;
}
