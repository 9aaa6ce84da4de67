import { fingerprintOf, isShared, type Claim, type SyncSection } from '@antiphon/core';

/**
 * First committer wins, by its definition: a transaction is rejected when an entry after what it
 * had seen was not certified, or claims the same, or when an earlier one of its group was rejected.
 * Remembers everything, unlike the real one.
 */
export class CertificationModel {
  readonly #exclusive = new Map<number, number>();
  readonly #shared = new Map<number, number>();
  #uncertifiedSeq = 0;

  pass(seq: number): void {
    this.#uncertifiedSeq = seq;
  }

  /** How many of the group's transactions are committed. */
  judge(seq: number, { readSeq, claims }: SyncSection): number {
    const firstRejected = claims.findIndex(
      (ofOne) => readSeq < this.#uncertifiedSeq || ofOne.some((claim) => this.#conflicts(claim, readSeq)),
    );
    const committed = firstRejected < 0 ? claims.length : firstRejected;
    for (const claim of claims.slice(0, committed).flat()) {
      (isShared(claim) ? this.#shared : this.#exclusive).set(fingerprintOf(claim), seq);
    }
    return committed;
  }

  #conflicts(claim: Claim, readSeq: number): boolean {
    const thing = fingerprintOf(claim);
    const shared = isShared(claim) ? 0 : (this.#shared.get(thing) ?? 0);
    return Math.max(this.#exclusive.get(thing) ?? 0, shared) > readSeq;
  }
}
