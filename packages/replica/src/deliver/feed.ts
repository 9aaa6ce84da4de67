import type { ActorRef, Behaviour, Context } from '@antiphon/actor';
import {
  AntiphonError,
  decodeEpochRecord,
  encodeClusterDocument,
  EPOCH_ORIGIN,
  findClusterDocument,
  type LogEntry,
  type LogReader,
  sleep,
} from '@antiphon/core';
import { appendsAlone } from '../state/authority.js';
import type { Delivery, DeliveryResult, FeedProtocol, ReplicaProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import { isUncertainCounters } from '../state/uncertain-counters.js';
import { retryingUntilAborted } from '../wait/deadline.js';
import { isTracing } from '../tracing/tracer.js';
import { Hold } from './hold.js';
import { ReadAhead } from './read-ahead.js';

const SCHEMA_RETRY_MS = 1000;
const COUNTERS_RETRY_MS = 20;

/** An entry that no replica can apply, for what only the registry could tell. */
type Unreadable = { readonly seq: number; readonly error: AntiphonError };

/**
 * The log's durable consumer: entries in order, in bounded groups, to the replica actor. One group
 * at a time is in memory; while it waits for its turn, it takes in what comes next (`ReadAhead`).
 * What the database does not take is held (`Hold`).
 *
 * A replica that appends alone wrote the log itself and reads no more of it than it is told to
 * (`readTo`): what it finds there after a restart or a failure.
 */
export class Feed implements Behaviour<FeedProtocol> {
  readonly receive = {
    hurry: (): void => this.#hold.hurry(),
    resume: (_: undefined, context: Context<FeedProtocol>): void => this.#start(context),
    readTo: (seq: number, context: Context<FeedProtocol>): void => {
      this.#readTo = Math.max(this.#readTo, seq);
      this.#start(context);
    },
  };
  readonly #hold: Hold;
  #reader: LogReader | undefined;
  #running: Promise<void> = Promise.resolve();
  #readTo: number;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {
    this.#hold = new Hold(scope);
    this.#readTo = appendsAlone(scope) ? 0 : Infinity;
  }

  started(context: Context<FeedProtocol>): void {
    this.#start(context);
  }

  /** A stall ends a run; the next one begins behind it, at the position. */
  #start(context: Context<FeedProtocol>): void {
    this.#running = this.#running
      .then(() => this.#run(context.signal))
      .catch((error: unknown) => {
        if (context.signal.aborted) return;
        if (error instanceof AntiphonError && STALLING.has(error.code)) this.scope.health.stall(error);
        else context.crash(error);
      });
  }

  async stopped(): Promise<void> {
    await this.#reader?.close();
  }

  get #readsOn(): boolean {
    return this.scope.health.replicating && this.scope.positions.passed < this.#readTo;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { limits, health } = this.scope;
    if (!this.#readsOn || signal.aborted) return;
    const reader = await this.#open(signal);
    this.#reader = reader;
    const stopListening = health.onState(() => {
      if (!health.replicating) void reader.close();
    });
    try {
      const { applyEntries: maxEntries, applyBytes: maxBytes } = limits;
      const ahead = new ReadAhead(reader, { maxEntries, maxBytes }, signal);
      while (this.#readsOn) {
        await this.#take(await ahead.next(), ahead, signal);
        reader.ack(this.scope.store.state().position.seq);
      }
    } catch (error) {
      if (health.replicating) throw error;
    } finally {
      stopListening();
      void reader.close();
    }
  }

  async #open(signal: AbortSignal): Promise<LogReader> {
    const { log, document, store, sync, id, clock } = this.scope;
    return retryingUntilAborted(clock, signal, () => {
      // What was committed in place before it was read has to be read all the same, for
      // certification.
      const seenSeq = sync?.certification?.seenSeq ?? Infinity;
      const fromSeq = Math.min(store.state().position.seq, seenSeq) + 1;
      const { generation } = document;
      return log.read({ generation, fromSeq, durable: readerOf(id), traced: isTracing() });
    });
  }

  async #take(entries: readonly LogEntry[], ahead: ReadAhead, signal: AbortSignal): Promise<void> {
    await this.#meet(entries, signal);
    this.#observe(entries);
    let unreadable: Unreadable | undefined;
    for (let rest = this.#undelivered(entries); rest.length > 0 && this.scope.health.replicating;) {
      const joined: LogEntry[] = [];
      const request = {
        entries: rest,
        ...(unreadable === undefined ? { more: () => this.#join(ahead, joined, signal) } : { unreadable }),
      };
      // Told to read no further, it must not.
      if (this.#readTo === Infinity) ahead.begin(rest);
      const delivered = await this.#deliver(request, signal);
      unreadable = delivered?.halt === undefined ? undefined : await this.#halt(delivered.halt, signal);
      const doneSeq = delivered?.doneSeq ?? 0;
      rest = [...rest, ...joined].filter(({ seq }) => seq > doneSeq);
    }
  }

  #observe(entries: readonly LogEntry[]): void {
    const { sync, positions } = this.scope;
    // One by one where it tells who is in sync: a record counts from its place in the log on.
    if (sync !== undefined) sync.observe(entries);
    else if (entries.length > 0) positions.observe(entries.at(-1)?.seq ?? 0);
  }

  /**
   * In the turn of the replica actor, which may have waited for an answer of the log: what came in
   * meanwhile goes into the same transaction, and saves its commit. A stranger is looked up first.
   */
  #join(ahead: ReadAhead, joined: LogEntry[], signal: AbortSignal): readonly LogEntry[] {
    if (signal.aborted) return [];
    const entries = ahead.take(({ origin }) => !this.#isStranger(origin));
    this.#observe(entries);
    joined.push(...entries);
    // All of them: certification looks at entries in their order, and those before have not been
    // looked at yet.
    return entries;
  }

  /**
   * What the replica actor has to see: without own groups that were committed in place. A turn for
   * those would wait for the one in which the next group is sent.
   */
  #undelivered(entries: readonly LogEntry[]): readonly LogEntry[] {
    const { sync, store } = this.scope;
    if (sync === undefined) return entries;
    const { seq } = store.state().position;
    const rest = entries.filter((entry) => entry.seq > seq);
    if (rest.length < entries.length)
      for (const entry of entries) if (entry.seq <= seq) sync.certification?.look(entry);
    return rest;
  }

  /** undefined: nothing was applied, and a wait is over; try again. */
  async #deliver(request: Delivery, signal: AbortSignal): Promise<DeliveryResult | undefined> {
    const { clock, health } = this.scope;
    const sinceMs = clock.monotonicMs();
    try {
      const delivered = await this.replica.ask('apply', request, { timeoutMs: Infinity, signal });
      if (delivered.refused === undefined) this.#hold.end();
      else {
        const { error, ...refused } = delivered.refused;
        await this.#hold.wait(refused, error, clock.monotonicMs() - sinceMs, signal);
      }
      return delivered;
    } catch (thrown) {
      if (!(thrown instanceof AntiphonError) || !HELD.has(thrown.code)) throw thrown;
      if (thrown.code === 'SCHEMA_DRIFT' && thrown.context['uncaptured'] !== undefined) health.stall(thrown);
      else if (isUncertainCounters(thrown)) await sleep(clock, COUNTERS_RETRY_MS, signal);
      else
        await this.#hold.wait(
          { seq: request.entries[0]?.seq ?? 0 },
          thrown,
          clock.monotonicMs() - sinceMs,
          signal,
        );
      return undefined;
    }
  }

  /** Looks up origins that were never seen before; waits while the registry does not answer. */
  async #meet(entries: readonly LogEntry[], signal: AbortSignal): Promise<void> {
    const { members, clock } = this.scope;
    const origins = new Set<string>();
    for (const { origin } of entries) if (this.#isStranger(origin)) origins.add(origin);
    if (origins.size === 0) return;
    await retryingUntilAborted(clock, signal, () => members.lookUp(origins));
  }

  /** It counts if it is a member, and nobody has asked yet. */
  #isStranger(origin: string): boolean {
    const { members, authority } = this.scope;
    const { primary } = authority.current();
    return !members.has(origin) && (primary === undefined || origin === primary);
  }

  /** What only this database has leaves it, before what comes next in the log is applied. */
  async #rewind({ context }: AntiphonError, signal: AbortSignal): Promise<void> {
    const { clock } = this.scope;
    const spent = context['spent'] as number | undefined;
    while (!signal.aborted && this.scope.health.replicating) {
      const sinceMs = clock.monotonicMs();
      try {
        await this.replica.ask('rewind', spent, { timeoutMs: Infinity, signal });
        return this.#hold.end();
      } catch (thrown) {
        if (!(thrown instanceof AntiphonError) || !HELD.has(thrown.code)) throw thrown;
        const refused = { seq: Number(context['seq']) };
        await this.#hold.wait(refused, thrown, clock.monotonicMs() - sinceMs, signal);
      }
    }
  }

  /** A forged message must not stop anything; a real one is behind the record of its epoch. */
  #laterEpoch(error: AntiphonError, signal: AbortSignal): Promise<Unreadable | undefined> {
    const { health, log, clock } = this.scope;
    const [seq, epoch] = [Number(error.context['seq']), Number(error.context['epoch'])];
    const look = async (): Promise<Unreadable | undefined> => {
      const newest = await log.lastOf(EPOCH_ORIGIN, signal);
      const record = newest && decodeEpochRecord(newest.data);
      if (record === undefined || record.epoch < epoch)
        return {
          seq,
          error: new AntiphonError(
            'MALFORMED_MESSAGE',
            `It is of epoch ${epoch}, which the log has no record of.`,
          ),
        };
      health.stall(error);
      return undefined;
    };
    return retryingUntilAborted(clock, signal, look, { leastDelayMs: SCHEMA_RETRY_MS });
  }

  /** Stalls, or says that the entry is none that any replica could apply. */
  async #halt(
    { reason, error }: NonNullable<DeliveryResult['halt']>,
    signal: AbortSignal,
  ): Promise<Unreadable | undefined> {
    const { health, registry, document, clock } = this.scope;
    if (reason === 'deposed' || reason === 'spent') {
      await this.#rewind(error, signal);
      return undefined;
    }
    if (reason === 'later-epoch') return this.#laterEpoch(error, signal);
    if (reason !== 'newer-schema') {
      health.stall(error);
      return undefined;
    }
    // A forged version must not stop anything; a real one is in the registry before it is in the
    // log.
    const look = async (): Promise<Unreadable | undefined> => {
      const agreed =
        (await findClusterDocument(registry, encodeClusterDocument(document)))?.document ?? document;
      if (agreed.schema.version <= document.schema.version)
        return { seq: Number(error.context['seq']), error };
      health.stall(error);
      return undefined;
    };
    return retryingUntilAborted(clock, signal, look, { leastDelayMs: SCHEMA_RETRY_MS });
  }
}

/** The durable consumer of a replica: as NATS's own tools show it. */
export function readerOf(id: string): string {
  return `replica_${id}`;
}

/** An operator has to act; the database and what it holds are as they should be. */
const STALLING = new Set(['LOG_REPLACED', 'UNSUPPORTED_FORMAT', 'DUPLICATE_REPLICA', 'STORE_CORRUPT']);
/**
 * The store could not even begin, or not commit: nothing was applied, and what is in the way may go
 * away.
 */
const HELD = new Set([
  'STORE_BUSY',
  'STORE_FULL',
  'STORE_UNAVAILABLE',
  'STORE_FAILED',
  'OVERLOADED',
  'CLOCK_SKEW',
  'SCHEMA_DRIFT',
  'CONSTRAINT',
  'APPLY_REFUSED',
  'UNKNOWN_TABLE',
  'MESSAGE_TOO_LARGE',
  'MALFORMED_MESSAGE',
  'BAD_SQL',
]);
