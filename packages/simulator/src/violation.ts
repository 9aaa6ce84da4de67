/** An invariant of docs/spec.md that a run did not keep. */
export interface Violation {
  readonly invariant:
    'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I8' | 'I9' | 'I11' | 'I12' | 'I14' | 'I16' | 'liveness';
  readonly replica: string;
  readonly message: string;
}

/** One wrong run can break a thousand rows; the first ones say what there is to say. */
const MAX_VIOLATIONS = 20;

export class Violations {
  readonly #found: Violation[] = [];

  add(invariant: Violation['invariant'], replica: string, message: string): void {
    if (this.#found.length < MAX_VIOLATIONS) this.#found.push({ invariant, replica, message });
  }

  get all(): readonly Violation[] {
    return this.#found;
  }

  get any(): boolean {
    return this.#found.length > 0;
  }
}
