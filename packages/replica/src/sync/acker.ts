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

/** Replaced processes of one member that are remembered. */
const MOST_BEFORE = 8;
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

/**
 * How far a replica is, which of the writer's transactions it has applied, and with which entry the
 * epoch began that it follows.
 */
export interface Durable {
  readonly seq: number;
  /** The writer's last one, without a hole. */
  readonly counter: number;
  readonly epochSeq: number;
  /** Of the process that says so. Builds before 0.1.0 leave it out. */
  readonly instance?: string;
}

/** Where a write is: its entry, and its number. */
interface Place {
  readonly seq: number;
  /** 0: it changed nothing that is replicated. */
  readonly counter: number;
}

interface Running {
  readonly instance: string;
  readonly sinceMs: number;
  /** Of processes that it has replaced: theirs may still arrive, over another nats-server. */
  readonly before: readonly string[];
}

interface Pending extends Place {
  readonly write: SyncWrite;
  readonly result: Omit<WriteResult<unknown>, 'acks' | 'degraded'>;
  readonly sinceMs: number;
}

/**
 * What a replica says on the reply subject of a group: it has committed the log up to `seq`, on its
 * disk, with the writer's transactions up to `counter`: a position alone may be one of another copy
 * of the log. In another epoch than the group's, it has passed it without applying it.
 */
export function encodeAck(id: string, { seq, counter, epochSeq, instance }: Durable): Uint8Array {
  return encodeControl({ id, seq, counter, epochSeq, ...(instance !== undefined && { instance }) });
}

/** What is asked of a member that has not said anything. */
export interface DurableRequest {
  /** Whose transactions are meant. */
  readonly origin: string;
}

/**
 * Collects acknowledgements for writes that are in the log. They are positions, so the newest of a
 * member stands for all before.
 */
export class Acker {
  readonly #acked = new Map<string, Pick<Durable, 'seq' | 'counter'>>();
  /** The process of each member that was heard last, and since when. */
  readonly #running = new Map<string, Running>();
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
    const running = this.#running.get(member);
    if (running?.instance === instance) return;
    // One that was replaced may be heard once more, before it sees that and ends.
    const others = [...(running?.before ?? []), ...(running === undefined ? [] : [running.instance])];
    const before = others.filter((one) => one !== instance).slice(-MOST_BEFORE);
    this.#running.set(member, { instance, before, sinceMs: this.options.clock.monotonicMs() });
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
    for (const pending of this.#pending) {
      if (pending.sinceMs > untilMs) break;
      for (const member of inSync.members)
        if (member !== id && !this.#has(member, pending) && !isNew(member)) late.add(member);
    }
    return [...late];
  }

  /**
   * The write is committed here (or needs not be) and in the log at `seq`; answers when its level
   * is reached.
   */
  expect(write: SyncWrite, seq: number, result: Pending['result']): void {
    const { clock } = this.options;
    const counter = result.id?.counter ?? 0;
    const pending: Pending = { write, seq, counter, result, sinceMs: clock.monotonicMs() };
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
        if (member !== id && !this.#has(member, pending)) silent.add(member);
      }
    }
    for (const member of silent) void this.#ask(member);
  }

  async #ask(member: string): Promise<void> {
    if (this.#asking.has(member)) return;
    this.#asking.add(member);
    const { bus, cluster, id: origin } = this.options;
    const request: DurableRequest = { origin };
    try {
      const reply = decodeControl(
        await bus.request(`${mailboxPrefix(cluster, member)}.durable`, encodeControl({ ...request }), {
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
    const [seq, counter] = [Number(input['seq']), Number(input['counter'])];
    if (Number(input['epochSeq']) !== this.options.epochSeq()) return;
    if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(counter)) return;
    if (!this.options.inSync.known.includes(member)) return;
    const { instance } = input;
    if (typeof instance === 'string') {
      if (this.#running.get(member)?.before.includes(instance)) return;
      // It may come before the first heartbeat that is heard of that process.
      this.runs(member, instance);
    }
    const known = this.#acked.get(member) ?? { seq: 0, counter: 0 };
    if (seq <= known.seq && counter <= known.counter) return;
    this.#acked.set(member, { seq: Math.max(seq, known.seq), counter: Math.max(counter, known.counter) });
    this.check();
  }

  #has(member: string, { seq, counter }: Place): boolean {
    const acked = this.#acked.get(member);
    return acked !== undefined && acked.seq >= seq && acked.counter >= counter;
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
        (member) => member !== options.id && !this.#has(member, pending),
      );
      return missing ? undefined : this.#result(pending, true);
    }
    const { known } = options.inSync;
    // Who has come into the set before this entry counts.
    if (acks === 'majority' && !options.knowsUpTo(seq)) return undefined;
    const wanted = neededOf(acks, known.length);
    if (this.#count(acks, pending) >= wanted) return this.#result(pending, true);
    if (!options.degrades || (!this.#short() && options.inSync.members.length >= wanted)) return undefined;
    return { ...result, degraded: true, ...this.#acks(pending, false) };
  }

  /**
   * A majority is one of the members that the log knows: before there is a record, nobody is one,
   * the writer included.
   */
  #count(level: AckLevel, place: Place): number {
    const by = this.#by(place);
    if (level !== 'majority') return by.length;
    const { known } = this.options.inSync;
    return by.filter((member) => known.includes(member)).length;
  }

  #short(): boolean {
    return this.options.inSync.members.length < this.options.minInSync;
  }

  #by(place: Place): readonly string[] {
    const { id, inSync } = this.options;
    return [id, ...inSync.known.filter((member) => member !== id && this.#has(member, place))].sort();
  }

  #result(pending: Pending, reached: boolean): WriteResult<unknown> {
    return { ...pending.result, ...this.#acks(pending, reached) };
  }

  #acks(pending: Pending, reached: boolean): { readonly acks: Acknowledgements } {
    const by = this.#by(pending);
    const { acks: level } = pending.write;
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
