import {
  type AntiphonError,
  counterOf,
  toAntiphonError,
  type ChangeCursor,
  type Log,
  type TransactionId,
  type VectorClock,
} from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';

/** Between two questions. */
const ASK_EVERY_MS = 5000;

/** What a replica has of the log as far as this entry. */
interface Expected {
  readonly seq: number;
  readonly vector: VectorClock;
}

/**
 * Whether a stream of changes has met everything that replicas have. A transaction that was
 * quarantined may be applied long after the stream has passed its entry, without being published
 * again (`antiphon quarantine retry`); everything later of its origin would look like a hole.
 */
export class MemberCoverage {
  #expected: Expected | undefined;
  #isAsking = false;
  #askAtMs = performance.now() + ASK_EVERY_MS;
  #failure: AntiphonError | undefined;

  constructor(
    private readonly client: ClusterClient,
    private readonly log: Pick<Log, 'identity'>,
  ) {}

  /**
   * The first transaction that a stream at this place, behind entry `seq`, has not met. Never
   * waits: it asks beside the stream, and says so later. Throws what no further question can mend.
   */
  missedBy({ vector, isPartial }: ChangeCursor, seq: number): TransactionId | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#expected === undefined && !this.#isAsking && performance.now() >= this.#askAtMs)
      void this.#ask();
    if (this.#expected === undefined || seq < this.#expected.seq) return undefined;
    const expected = this.#expected.vector;
    this.#expected = undefined;
    for (const [origin, counter] of Object.entries(expected)) {
      if (counterOf(vector, origin) >= counter) continue;
      // Perhaps all that the log has lost of it was before the stream began.
      if (isPartial && !Object.hasOwn(vector, origin)) continue;
      return { origin, counter: counterOf(vector, origin) + 1 };
    }
    return undefined;
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    try {
      this.#expected = await this.#standing();
    } catch (error) {
      const failure = toAntiphonError(error);
      if (!failure.retriable && failure.code !== 'CLOSED') this.#failure = failure;
    } finally {
      this.#isAsking = false;
      this.#askAtMs = performance.now() + ASK_EVERY_MS;
    }
  }

  /** Undefined when no replica answers. */
  async #standing(): Promise<Expected | undefined> {
    const [id] = await this.client.answering();
    if (id === undefined) return undefined;
    const { seq, vector, publishedCounter } = await this.client.replica(id).ask('standing');
    // Its own are committed before they are in the log, where they may be behind its place.
    const { lastSeq } = await this.log.identity();
    const own = Math.min(publishedCounter, counterOf(vector, id));
    return { seq: Math.max(seq, lastSeq), vector: { ...vector, [id]: own } };
  }
}
