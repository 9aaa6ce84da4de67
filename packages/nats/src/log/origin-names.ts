const MAX_KEPT = 1024;

/**
 * The last tokens of subjects, each made once: a million entries come from a handful of origins.
 */
export class OriginNames {
  readonly #kept = new Map<string, string>();

  of(subject: string): string {
    const known = this.#kept.get(subject);
    if (known !== undefined) return known;
    const origin = subject.slice(subject.lastIndexOf('.') + 1);
    // Anybody may publish on new subjects all the time.
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
    this.#kept.set(subject, origin);
    return origin;
  }
}
