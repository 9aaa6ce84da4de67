import {
  AntiphonError,
  BatchEncoder,
  DEFAULT_CODEC_LIMITS,
  type DictionaryTable,
  type HybridClock,
  type NamedClaim,
  type PrepareOptions,
  type SyncSection,
} from '@antiphon/core';
import { ClaimCollector, claimRules, type ClaimRules } from './claims.js';
import type { HiddenRows } from './hidden-rows.js';
import type { TrackedTable } from './local-table.js';
import type { LockedRow } from './locks.js';
import { dictionaryTable, OutboxEncoder } from './outbox-encoder.js';
import { CHUNK_ROWS, type Outbox } from './outbox.js';
import { batchHeader } from './seal.js';
import type { ReplicaState } from './state.js';
import type { RowVersions } from './versions.js';

/** Longest forms of a claim, of a list's length, and of a sync section without its texts. */
const CLAIM_BYTES = 9;
const LIST_BYTES = 5;
const SECTION_BYTES = 40;

/** Outbox rows up to `end` that the one before it does not have, as one transaction. */
export interface GroupTransaction {
  readonly end: number;
  readonly locks: readonly LockedRow[];
}

export interface SealedGroup {
  readonly token: string;
  readonly firstCounter: number;
  readonly lastCounter: number;
  readonly changes: number;
  readonly data: Uint8Array;
  /** Per transaction. */
  readonly claims: readonly (readonly NamedClaim[])[];
}

/**
 * The transactions do not fit into one message: whoever sealed must roll back, and leave some out.
 */
export class GroupTooLarge extends Error {
  constructor(
    /**
     * Bytes that each transaction needs by itself, by its place; infinite for one that does not
     * even fit alone.
     */
    readonly sizes: ReadonlyMap<number, number>,
    /** Bytes that there are for all of them. */
    readonly room: number,
  ) {
    super('the group does not fit into one message');
  }

  /** For a transaction that does not even fit alone. */
  static alone(maxBytes: number): AntiphonError {
    return new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `A synchronous write must fit into one message of ${maxBytes} bytes, and this one does not. Split it into several writes, ` +
        'or load large amounts of data while the cluster updates asynchronously.',
      { context: { limit: maxBytes } },
    );
  }
}

/** Seals all outbox rows into exactly one message with a sync section, without storing it. */
export class GroupSealer {
  readonly #encoder = new BatchEncoder();
  readonly #rows: OutboxEncoder;
  readonly #dictionary = new Map<number, DictionaryTable>();
  readonly #indexes = new Map<number, number>();
  readonly #tableIds: number[] = [];
  readonly #collector: ClaimCollector;

  constructor(
    private readonly outbox: Outbox,
    private readonly clock: HybridClock,
    private readonly versions: RowVersions | undefined,
    private readonly hidden: HiddenRows | undefined,
    tables: readonly TrackedTable[],
    rules: ClaimRules = claimRules(tables),
  ) {
    for (const table of tables) this.#dictionary.set(table.id, dictionaryTable(table));
    this.#rows = new OutboxEncoder(outbox, (id) => this.#indexOf(id));
    this.#collector = new ClaimCollector(rules, this.#encoder, (index) => this.#tableIds[index] ?? 0);
  }

  /** Advances the state's counters. Throws GroupTooLarge. */
  seal(state: ReplicaState, transactions: readonly GroupTransaction[], options: PrepareOptions): SealedGroup {
    const firstCounter = state.lastCounter + 1;
    this.clock.restore(state.time);
    this.#rows.forget();
    // A group without changes must not wait for a clock that is set right: no version is given.
    const firstTime = transactions.at(-1)?.end === 0 ? this.clock.tickIdle() : this.clock.tick();
    this.#begin(state, firstCounter, firstTime);
    const maxBytes = maxMessageBytes(options) - sectionBytes(options);
    const claims: (readonly NamedClaim[])[] = [];
    let claimBytes = 0;
    let from = 0;
    const last = transactions.at(-1)?.end ?? 0;
    let time = firstTime;
    transactions.forEach((transaction, index) => {
      if (index > 0) time = this.clock.tick();
      this.#encoder.transaction(time - firstTime);
      claimBytes += LIST_BYTES;
      const fits = (): boolean =>
        this.#encoder.byteLength + claimBytes + this.#collector.count * CLAIM_BYTES <= maxBytes;
      if (!this.#encode(from, transaction, last, options.certified, fits))
        throw new GroupTooLarge(this.#sizes(state, transactions, options, maxBytes), maxBytes);
      claimBytes += this.#collector.count * CLAIM_BYTES;
      claims.push(this.#collector.take());
      this.#stamp(state, from, transaction.end, time);
      from = transaction.end;
    });
    const { changes } = this.#encoder;
    const sync = syncSection(state, options, claims);
    return {
      token: options.token,
      firstCounter,
      lastCounter: state.lastCounter,
      changes,
      data: this.#encoder.finish(sync),
      claims,
    };
  }

  /**
   * Each is measured with a header of its own, so that together they need no more than the sum. The
   * outbox is read once for all of them: the group may be large.
   */
  #sizes(
    state: ReplicaState,
    transactions: readonly GroupTransaction[],
    { certified }: PrepareOptions,
    maxBytes: number,
  ): ReadonlyMap<number, number> {
    const last = transactions.at(-1)?.end ?? 0;
    let from = 0;
    const sizes = transactions.map((transaction, index): readonly [number, number] => {
      this.#begin(state, state.lastCounter + 1, state.time);
      this.#encoder.transaction(0);
      const size = (): number => this.#encoder.byteLength + LIST_BYTES + this.#collector.count * CLAIM_BYTES;
      const fits = this.#encode(from, transaction, last, certified, () => size() <= maxBytes);
      from = transaction.end;
      return [index, fits ? size() : Infinity];
    });
    this.#collector.take();
    return new Map(sizes);
  }

  #begin(state: ReplicaState, counter: number, time: number): void {
    this.#collector.take();
    this.#indexes.clear();
    this.#tableIds.length = 0;
    this.#encoder.begin(batchHeader(state, counter, time, [], this.versions !== undefined));
  }

  #encode(
    start: number,
    { end, locks }: GroupTransaction,
    last: number,
    certified: boolean,
    fits: () => boolean,
  ): boolean {
    const sink = certified ? this.#collector : this.#encoder;
    try {
      for (let from = start; from < end; from += CHUNK_ROWS) {
        this.#rows.encode(sink, from, Math.min(from + CHUNK_ROWS, end), last);
        if (!fits()) return false;
      }
    } catch (thrown) {
      // A value or a number of changes over the codec's own limits.
      if (thrown instanceof AntiphonError && thrown.code === 'MESSAGE_TOO_LARGE') return false;
      throw thrown;
    }
    if (certified) for (const lock of locks) this.#collector.lock(lock);
    return fits();
  }

  /** The transaction's counter is given, and the versions of its rows. */
  #stamp(state: ReplicaState, from: number, to: number, time: number): void {
    const counter = state.lastCounter + 1;
    state.lastCounter = counter;
    if (!state.recovering) state.ownCounter = counter;
    state.time = time;
    if (this.versions === undefined || to === from) return;
    const tables = this.outbox.tablesOf(from, to);
    this.hidden?.noteSealed(state, tables, from, to);
    this.versions.stampSealed(tables, from, to, { time, origin: state.identity.replica, counter });
  }

  #indexOf(id: number): number {
    const known = this.#indexes.get(id);
    if (known !== undefined) return known;
    const table = this.#dictionary.get(id) ?? dictionaryTable(this.outbox.table(id));
    const index = this.#encoder.addTable(table);
    this.#indexes.set(id, index);
    this.#tableIds[index] = id;
    return index;
  }
}

export function maxMessageBytes({ maxBytes }: PrepareOptions): number {
  return Math.min(maxBytes, DEFAULT_CODEC_LIMITS.maxMessageBytes);
}

function sectionBytes({ token, reply }: PrepareOptions): number {
  return SECTION_BYTES + token.length + (reply === undefined ? 0 : Buffer.byteLength(reply));
}

function syncSection(
  state: ReplicaState,
  { token, reply }: PrepareOptions,
  claims: readonly (readonly NamedClaim[])[],
): SyncSection {
  return {
    token,
    readSeq: state.position.seq,
    ...(reply === undefined ? {} : { reply }),
    claims: claims.map((list) => list.map(({ claim }) => claim)),
  };
}
