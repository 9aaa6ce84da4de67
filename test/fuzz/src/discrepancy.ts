/** What is not as it must be. `kind` stays the same while a script is made smaller. */
export class Discrepancy extends Error {
  constructor(
    readonly kind: string,
    readonly detail: string,
  ) {
    super(`${kind}: ${detail}`);
  }
}
