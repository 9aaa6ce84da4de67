import type { Claim } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';

/** The committed transaction that holds a claim. */
export type ClaimHolder = TransactionId & { readonly seq: number };

interface Entry {
  readonly seq: number;
  /** Per committed transaction that claims anything. */
  readonly held: readonly (readonly Claim[])[];
  /** Claims of all its transactions. */
  readonly count: number;
}

/**
 * The newest holders of the claims in the last entries. What is dropped is a function of the
 * entries alone, never of the time.
 */
export class ClaimIndex {
  /** An exclusive and a shared claim on one thing are two keys. */
  readonly #holders = new Map<Claim, ClaimHolder>();
  /** By sequence, ascending; the first `#dropped` are gone. */
  #entries: Entry[] = [];
  #dropped = 0;
  #count = 0;
  #floor = 0;

  constructor(private readonly limit: number) {}

  /** The newest entry that went because there were too many claims. */
  get floor(): number {
    return this.#floor;
  }

  get size(): number {
    return this.#holders.size;
  }

  /**
   * A committed transaction in an entry after `readSeq` with a claim that conflicts with this one.
   */
  rival(claim: Claim, readSeq: number): ClaimHolder | undefined {
    const exclusive = Math.floor(claim / 2) * 2;
    const writer = this.#holders.get(exclusive);
    if (writer !== undefined && writer.seq > readSeq) return writer;
    if (claim !== exclusive) return undefined;
    const locker = this.#holders.get(exclusive + 1);
    return locker !== undefined && locker.seq > readSeq ? locker : undefined;
  }

  /**
   * The claims of a newer entry: those of its first `committed` transactions are held, the others
   * only counted.
   */
  add(
    seq: number,
    claims: readonly (readonly Claim[])[],
    committed: number,
    holderOf: (index: number) => ClaimHolder,
  ): void {
    let count = 0;
    for (const list of claims) count += list.length;
    if (count === 0) return;
    for (let i = 0; i < committed; i++) {
      const holder = holderOf(i);
      for (const claim of claims[i] as readonly Claim[]) this.#holders.set(claim, holder);
    }
    const held = claims.slice(0, committed).filter((list) => list.length > 0);
    this.#entries.push({ seq, held, count });
    this.#count += count;
    while (this.#count > this.limit) this.#floor = this.#dropOldest();
  }

  /** Forgets entries up to `seq`. */
  dropUpTo(seq: number): void {
    for (let oldest = this.#oldest(); oldest !== undefined && oldest.seq <= seq; oldest = this.#oldest())
      this.#dropOldest();
  }

  #oldest(): Entry | undefined {
    return this.#entries[this.#dropped];
  }

  #dropOldest(): number {
    const { seq, held, count } = this.#oldest() as Entry;
    this.#count -= count;
    for (const list of held) {
      for (const claim of list) if (this.#holders.get(claim)?.seq === seq) this.#holders.delete(claim);
    }
    this.#dropped++;
    if (this.#dropped * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#dropped);
      this.#dropped = 0;
    }
    return seq;
  }
}
