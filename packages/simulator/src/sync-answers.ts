import { decodeControl, EpochFold, firstEpoch, type LogEntry } from '@antiphon/core';
import type { WriteResult } from '@antiphon/replica';
import type { HistoryEntry, SimulatedDatabase } from './database.js';
import { tokensIn } from './tables.js';
import type { LogModel, ModelTransaction } from './log-model.js';
import type { World } from './node.js';
import type { Violations } from './violation.js';

/** Longer than any write waits. */
const LONGEST_WRITE_MS = 25_000;

interface InSyncRecord {
  readonly seq: number;
  readonly members: readonly string[];
  readonly known: readonly string[];
}

/**
 * Looks at every answer at the moment when it comes: are the databases that it names in the state
 * that it promises (I6)?
 */
export class SyncAnswers {
  /** By database: the transactions that it holds now, as `origin:counter`. */
  readonly #held = new Map<string, Set<string>>();
  /** By database: what an answer said that it has, for ever. */
  readonly #promised = new Map<string, Set<string>>();
  /** By database: when an older copy was last put in its place. */
  readonly #restoredMs = new Map<string, number>();
  readonly #records: InSyncRecord[] = [];
  readonly #epochs = new EpochFold(firstEpoch('the first'));
  #seenSeq = 0;

  constructor(
    private readonly world: World,
    private readonly log: LogModel,
    private readonly violations: Violations,
  ) {}

  watch(id: string, database: SimulatedDatabase): void {
    const held = new Set<string>();
    this.#held.set(id, held);
    this.#promised.set(id, new Set());
    database.onCommit(({ taken, rewound }) => {
      for (const entry of rewound) held.delete(nameOf(entry));
      for (const entry of taken) held.add(nameOf(entry));
    });
  }

  /** A process has ended; its machine may have lost power. */
  left(id: string, database: SimulatedDatabase): void {
    const held = this.#held.get(id);
    held?.clear();
    for (const entry of database.history) held?.add(nameOf(entry));
    for (const name of this.#promised.get(id) ?? []) {
      if (held?.has(name) !== true) {
        this.violations.add('I6', id, `it has lost ${name}, which an answer said that it has on its disk`);
      }
    }
  }

  /** Somebody has put an older copy in its place: no promise outlives that. */
  restored(id: string): void {
    this.#promised.get(id)?.clear();
    this.#restoredMs.set(id, this.world.clock.monotonicMs());
  }

  catchUp(): void {
    const entries = this.world.log.entries();
    this.log.feed(entries);
    for (const entry of entries.slice(this.#seenSeq)) {
      this.#seenSeq = entry.seq;
      if (entry.origin === '_insync') this.#records.push(readRecord(entry));
      else this.#leave(entry);
    }
  }

  /** A record of an epoch, if it is valid, takes members out of the set; not all of them. */
  #leave(entry: LogEntry): void {
    const { leaves = [] } = this.#epochs.take(entry) ?? {};
    const last = this.#records.at(-1);
    const members = last?.members.filter((member) => !leaves.includes(member)) ?? [];
    if (last === undefined || leaves.length === 0 || members.length === 0) return;
    this.#records.push({ ...last, seq: entry.seq, members });
  }

  holds(id: string, name: string): boolean {
    return this.#held.get(id)?.has(name) === true;
  }

  /** The transaction that a write became, if it is committed by the log. */
  transactionOf(token: string): ModelTransaction | undefined {
    this.catchUp();
    return this.log.transactions.find(({ origin, changes }) =>
      changes.some(
        ({ op, row }) => op !== 'delete' && token.startsWith(`${origin}#`) && tokensIn(row).includes(token),
      ),
    );
  }

  committed(replica: string, token: string, result: WriteResult<unknown>): void {
    this.catchUp();
    const { id, acks, degraded, position } = result;
    const wrong = (invariant: 'I6' | 'I8', what: string): void =>
      this.violations.add(
        invariant,
        replica,
        `${token} (${id?.origin}:${id?.counter}, entry ${position.seq}): ${what}`,
      );
    if (id === undefined || acks === undefined)
      return wrong('I8', 'committed, without an id or acknowledgements');
    const transaction = this.log.transaction(id.origin, id.counter);
    const wrote = transaction?.changes.some(
      ({ op, row }) => op !== 'delete' && tokensIn(row).includes(token),
    );
    if (transaction === undefined || wrote !== true || transaction.rejected === true)
      return wrong('I8', 'committed, and the log has no such transaction');
    if (transaction.seq !== position.seq) wrong('I8', `the log has it in entry ${transaction.seq}`);
    const name = `${id.origin}:${id.counter}`;
    for (const member of acks.by) {
      if (this.#wasRestored(member)) continue;
      if (!this.holds(member, name)) wrong('I6', `${member} is said to have it, and has not`);
      this.#promised.get(member)?.add(name);
    }
    const { onShortfall } = this.world.update as { readonly onShortfall?: string };
    if (degraded === true && onShortfall !== 'degrade') wrong('I6', 'degraded, in a cluster that rejects');
    if (acks.reached && degraded === true) wrong('I6', 'degraded, and reached all the same');
    if (acks.reached && !this.#isReached(acks, position.seq))
      wrong('I6', `acks ${acks.level} reached by ${acks.by.join(', ')}`);
  }

  /** While a write was under way: what its database said before was true then. */
  #wasRestored(id: string): boolean {
    const restoredMs = this.#restoredMs.get(id) ?? -Infinity;
    return this.world.clock.monotonicMs() - restoredMs < LONGEST_WRITE_MS;
  }

  /** By the set in force at that entry, or a newer one. */
  #isReached({ level, by }: NonNullable<WriteResult<unknown>['acks']>, seq: number): boolean {
    if (level === 'local' || level === 'logged') return true;
    if (typeof level === 'number') return by.length >= level;
    const inForce = this.#records.findLastIndex((record) => record.seq < seq);
    const records = this.#records.slice(Math.max(0, inForce));
    const { minInSync } = this.world.update as { readonly minInSync?: number };
    return records.some(({ members, known }) =>
      level === 'majority'
        ? by.length > known.length / 2
        : members.length >= (minInSync ?? 1) && members.every((member) => by.includes(member)),
    );
  }
}

function readRecord({ seq, data }: LogEntry): InSyncRecord {
  const { members, known } = decodeControl(data) as Omit<InSyncRecord, 'seq'>;
  return { seq, members, known };
}

function nameOf({ origin, counter }: HistoryEntry): string {
  return `${origin}:${counter}`;
}
