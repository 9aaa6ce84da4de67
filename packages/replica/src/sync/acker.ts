import {
  type AckLevel,
  AntiphonError,
  type Bus,
  type BusSubscription,
  type Clock,
  decodeControl,
  encodeControl,
  isRecord,
  mailboxPrefix,
} from '@antiphon/core';
import type { Acknowledgements, WriteResult } from '../state/write-result.js';
import type { InSyncSet } from './in-sync-set.js';
import type { SyncWrite } from '../state/sync-write.js';

/** A silent member is asked directly after this, and again as often. */
const ASK_AFTER_MS = 200;
const ASK_TIMEOUT_MS = 1000;

export interface AckerOptions {
  readonly cluster: string;
  readonly id: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly inSync: InSyncSet;
  /** Where members say how far they are. */
  readonly subject: string;
  readonly minInSync: number;
  readonly degrades: boolean;
  /** All changes of the in-sync set before this entry are known. */
  knowsUpTo(seq: number): boolean;
  /** The entry of the log with which the epoch of this replica began; 0: there are none. */
  epochSeq(): number;
}

/** How far a replica is, and with which entry the epoch began that it follows. */
export interface Durable {
  readonly seq: number;
  readonly epochSeq: number;
}

interface Pending {
  readonly write: SyncWrite;
  readonly seq: number;
  readonly result: Omit<WriteResult<unknown>, 'acks' | 'degraded'>;
  readonly sinceMs: number;
}

/**
 * What a replica says on the reply subject of a group: it has committed the log up to `seq`, on its
 * disk. In another epoch than the group's, it has passed it without applying it.
 */
export function encodeAck(id: string, { seq, epochSeq }: Durable): Uint8Array {
  return encodeControl({ id, seq, epochSeq });
}

/**
 * Collects acknowledgements for writes that are in the log. They are positions, so the newest of a
 * member stands for all before.
 */
export class Acker {
  readonly #acked = new Map<string, number>();
  /** The process of each member that was heard last, and since when. */
  readonly #running = new Map<string, { readonly instance: string; readonly sinceMs: number }>();
  readonly #asking = new Set<string>();
  #pending: Pending[] = [];
  #subscription: BusSubscription | undefined;
  #stopListening: (() => void) | undefined;

  constructor(private readonly options: AckerOptions) {}

  start(): void {
    const { bus, subject, inSync } = this.options;
    this.#subscription ??= bus.subscribe(subject, ({ data }) => this.#hear(data));
    this.#stopListening ??= inSync.onChange(() => {
      // One that was removed may come back with an empty database.
      for (const member of this.#acked.keys()) if (!inSync.known.includes(member)) this.#acked.delete(member);
      this.check();
    });
  }

  /**
   * A member says which process it is. What the one before acknowledged counts no more: its file
   * may have been put back meanwhile. It is asked again where a write still waits.
   */
  runs(member: string, instance: string): void {
    if (this.#running.get(member)?.instance === instance) return;
    this.#running.set(member, { instance, sinceMs: this.options.clock.monotonicMs() });
    this.#acked.delete(member);
  }

  stop(): void {
    this.#subscription?.unsubscribe();
    this.#stopListening?.();
  }

  get waiting(): number {
    return this.#pending.length;
  }

  /** Members of the set that hold up a write for longer than `limitMs`. */
  late(limitMs: number): readonly string[] {
    const { clock, inSync, id } = this.options;
    const untilMs = clock.monotonicMs() - limitMs;
    const isNew = (member: string): boolean => (this.#running.get(member)?.sinceMs ?? -Infinity) > untilMs;
    const late = new Set<string>();
    for (const { seq, sinceMs } of this.#pending) {
      if (sinceMs > untilMs) break;
      for (const member of inSync.members)
        if (member !== id && !this.#has(member, seq) && !isNew(member)) late.add(member);
    }
    return [...late];
  }

  /**
   * The write is committed here (or needs not be) and in the log at `seq`; answers when its level
   * is reached.
   */
  expect(write: SyncWrite, seq: number, result: Pending['result']): void {
    const { clock } = this.options;
    const pending: Pending = { write, seq, result, sinceMs: clock.monotonicMs() };
    const reached = this.#reached(pending);
    if (reached !== undefined) return write.complete(reached);
    write.committed(() => this.#result(pending, false));
    this.#pending.push(pending);
  }

  /** Whoever waits for something that has come about. */
  check(): void {
    if (this.#pending.length === 0) return;
    this.#pending = this.#pending.filter((pending) => {
      if (pending.write.settled) return false;
      const reached = this.#reached(pending);
      if (reached === undefined) return true;
      pending.write.complete(reached);
      return false;
    });
  }

  /** Asks members that have not said anything: an acknowledgement may have been lost. */
  askSilent(): void {
    const { clock, id } = this.options;
    const silent = new Set<string>();
    for (const pending of this.#pending) {
      if (clock.monotonicMs() - pending.sinceMs < ASK_AFTER_MS) break;
      for (const member of this.#wanted(pending.write.acks)) {
        if (member !== id && !this.#has(member, pending.seq)) silent.add(member);
      }
    }
    for (const member of silent) void this.#ask(member);
  }

  async #ask(member: string): Promise<void> {
    if (this.#asking.has(member)) return;
    this.#asking.add(member);
    const { bus, cluster } = this.options;
    try {
      const reply = decodeControl(
        await bus.request(`${mailboxPrefix(cluster, member)}.durable`, new Uint8Array(0), {
          timeoutMs: ASK_TIMEOUT_MS,
        }),
      );
      if (isRecord(reply) && isRecord(reply['ok'])) this.#heard(member, reply['ok']);
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
    } finally {
      this.#asking.delete(member);
    }
  }

  /** Throws for the bus to count when it is no acknowledgement. */
  #hear(data: Uint8Array): void {
    const input = decodeControl(data);
    if (!isRecord(input) || typeof input['id'] !== 'string') {
      throw new AntiphonError(
        'MALFORMED_MESSAGE',
        'An acknowledgement cannot be read. Find out who publishes it.',
      );
    }
    this.#heard(input['id'], input);
  }

  #heard(member: string, input: Readonly<Record<string, unknown>>): void {
    const seq = Number(input['seq']);
    if (Number(input['epochSeq']) !== this.options.epochSeq()) return;
    if (!Number.isSafeInteger(seq) || seq <= (this.#acked.get(member) ?? 0)) return;
    if (!this.options.inSync.known.includes(member)) return;
    this.#acked.set(member, seq);
    this.check();
  }

  #has(member: string, seq: number): boolean {
    return (this.#acked.get(member) ?? 0) >= seq;
  }

  #wanted(level: AckLevel): readonly string[] {
    return level === 'all' ? this.options.inSync.members : this.options.inSync.known;
  }

  #reached(pending: Pending): WriteResult<unknown> | undefined {
    const { options } = this;
    const { write, seq, result } = pending;
    const { acks } = write;
    if (acks === 'logged' || acks === 'local') return this.#result(pending, true);
    if (acks === 'all') {
      if (!options.knowsUpTo(seq)) return undefined;
      if (this.#short())
        return options.degrades ? { ...result, degraded: true, ...this.#acks(pending, false) } : undefined;
      const missing = options.inSync.members.some(
        (member) => member !== options.id && !this.#has(member, seq),
      );
      return missing ? undefined : this.#result(pending, true);
    }
    const { known } = options.inSync;
    // Who has come into the set before this entry counts.
    if (acks === 'majority' && !options.knowsUpTo(seq)) return undefined;
    const wanted = neededOf(acks, known.length);
    if (this.#count(acks, seq) >= wanted) return this.#result(pending, true);
    if (!options.degrades || (!this.#short() && options.inSync.members.length >= wanted)) return undefined;
    return { ...result, degraded: true, ...this.#acks(pending, false) };
  }

  /**
   * A majority is one of the members that the log knows: before there is a record, nobody is one,
   * the writer included.
   */
  #count(level: AckLevel, seq: number): number {
    const by = this.#by(seq);
    if (level !== 'majority') return by.length;
    const { known } = this.options.inSync;
    return by.filter((member) => known.includes(member)).length;
  }

  #short(): boolean {
    return this.options.inSync.members.length < this.options.minInSync;
  }

  #by(seq: number): readonly string[] {
    const { id, inSync } = this.options;
    return [id, ...inSync.known.filter((member) => member !== id && this.#has(member, seq))].sort();
  }

  #result(pending: Pending, reached: boolean): WriteResult<unknown> {
    return { ...pending.result, ...this.#acks(pending, reached) };
  }

  #acks({ write, seq }: Pending, reached: boolean): { readonly acks: Acknowledgements } {
    const by = this.#by(seq);
    const { acks: level } = write;
    // A set that is too small lacks those who are not in it.
    const wanted = !reached && this.#short() ? this.options.inSync.known : this.#wanted(level);
    const missing =
      typeof level === 'number' || level === 'majority' || level === 'all'
        ? wanted.filter((member) => !by.includes(member))
        : [];
    return { acks: { level, by, missing, reached } };
  }
}

/** How many members must be in sync before a write at this level may begin. */
export function inSyncNeeded(level: AckLevel, minInSync: number, members: number): number {
  return level === 'all' ? minInSync : Math.max(minInSync, neededOf(level, members));
}

/** How many databases a level means. */
export function neededOf(level: AckLevel, members: number): number {
  if (typeof level === 'number') return level;
  return level === 'majority' ? Math.floor(members / 2) + 1 : 1;
}
