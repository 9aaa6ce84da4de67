import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  BatchOrder,
  EPOCH_ORIGIN,
  epochAt,
  counterOf,
  type LogEntry,
  type LogReader,
  sentence,
  summarize,
  type VectorClock,
} from '@antiphon/core';
import { intakeRules } from '../deliver/rules.js';
import { LogOrder } from '../deliver/log-order.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import { Quarantine } from './quarantine.js';
import type { Scope } from '../state/scope.js';

/** An entry that was removed from the log is noticed by its silence, and stepped over. */
const SILENCE_MS = 5000;
/** Removed entries that one reading steps over, one question each. */
const MAX_REMOVED = 10_000;
/**
 * Between two readings that brought nothing: so long, twice as long each time, and ten times what
 * one takes.
 */
const FIRST_PAUSE_MS = 2000;
const LONGEST_PAUSE_MS = 3_600_000;
const WAY_OUT = 'Nobody publishes it again. See "A transaction that nobody keeps" in docs/lost-log.md.';

/** What one reading has met of an origin that it could not apply, the first of it. */
type Obstacles = Map<string, { readonly seq: number; readonly obstacle: string }>;

/**
 * Reads the log again, for what the position has passed without its being applied: it was
 * quarantined, or what it builds on was. In log order and by the rules of admission, so that
 * counters have no holes and causes come first; beside the feed, page by page. What is judged by
 * its place in the log stays where it is.
 */
export class SecondReading {
  readonly #quarantine: Quarantine;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  /** For the same again; for others. */
  #nextAtMs = -Infinity;
  #soonestMs = -Infinity;
  #times = 0;
  /** What was missing when the log was last read. */
  #lookedFor = '';
  #obstacles: Obstacles = new Map();
  /** What could not be read at all, so that nobody can say what it holds. */
  #unreadable: Obstacles = new Map();
  #readTo = 0;
  /** Whose transactions the present pass is about. */
  #awaited: Set<string> = new Set();
  /** Of the last reading, when it did not get through. */
  #problem: string | undefined;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {
    this.#quarantine = new Quarantine(scope, replica);
  }

  close(): void {
    this.#closing.abort();
  }

  /** What came of it, in sentences; undefined when the log was not read for it yet. */
  found(origin: string, expected: number): string | undefined {
    if (!this.#lookedFor.split(' ').includes(`${origin}:${expected}`)) return undefined;
    if (this.#problem !== undefined)
      return `The log could not be read again for it: ${sentence(this.#problem)}`;
    const met = this.#obstacles.get(origin);
    const unreadable = this.#unreadable.get(origin);
    if (met === undefined && unreadable !== undefined)
      return `Entry ${unreadable.seq} of the log may hold it, and cannot be read here: ${sentence(unreadable.obstacle)} ${WAY_OUT}`;
    if (met === undefined)
      return `The log, read again up to entry ${this.#readTo}, does not hold it. ${WAY_OUT}`;
    return `Entry ${met.seq} of the log cannot be applied now: ${sentence(met.obstacle)} ${WAY_OUT}`;
  }

  /**
   * The log was read again for it, and no replica could apply what is there: what cannot be read
   * here, nobody can read.
   */
  isAbsent(origin: string, expected: number): boolean {
    const isRead = this.#lookedFor.split(' ').includes(`${origin}:${expected}`);
    return isRead && this.#problem === undefined && !this.#obstacles.has(origin);
  }

  /** Never rejects. Returns at once when that was done for the same not long ago. */
  read(): Promise<void> {
    if (this.#running !== undefined) return this.#running;
    const missing = this.#missing();
    const isOther = missing !== this.#lookedFor;
    if (this.scope.clock.monotonicMs() < (isOther ? this.#soonestMs : this.#nextAtMs))
      return Promise.resolve();
    if (isOther) this.#times = 0;
    this.#running = this.#run(missing).finally(() => (this.#running = undefined));
    return this.#running;
  }

  /** Which transactions, as one text to compare. */
  #missing(): string {
    return this.scope.health.waiting.map(({ origin, expected }) => `${origin}:${expected}`).join(' ');
  }

  async #run(missing: string): Promise<void> {
    const { clock, logger } = this.scope;
    const beganMs = clock.monotonicMs();
    this.#problem = undefined;
    this.#obstacles = new Map();
    this.#unreadable = new Map();
    try {
      await this.#pass();
      // After the log, whose order tells which of two with one number counts; what is applied by
      // now is forgotten.
      if ((await this.#retry()) && this.scope.health.waiting.length > 0) await this.#pass();
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (!this.#closing.signal.aborted) {
        this.#problem = error.message;
        logger.debug({ err: error }, 'The log was not read again.');
      }
    }
    this.#lookedFor = missing;
    const nowMs = clock.monotonicMs();
    const restMs = Math.min(LONGEST_PAUSE_MS, 10 * (nowMs - beganMs));
    this.#soonestMs = nowMs + restMs;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(20, this.#times++));
    this.#nextAtMs = nowMs + Math.max(restMs, pauseMs);
  }

  /** Returns whether anything was applied. */
  async #retry(): Promise<boolean> {
    const { counters, store } = this.scope;
    const before = counters.retried;
    if (store.state().quarantined > 0) await this.#quarantine.retryMembers();
    return counters.retried > before;
  }

  async #pass(): Promise<void> {
    const { store, log, limits, document } = this.scope;
    const { seq: untilSeq } = store.state().position;
    const { generation } = document;
    const identity = await log.identity(this.#closing.signal);
    const { vector, epochs } = store.state();
    const order = new LogOrder(
      intakeRules(this.scope),
      BatchOrder.of(identity, vector),
      epochAt(epochs, identity.firstSeq),
    );
    // To the end of it: what closes a gap need not be all that was missed behind it.
    this.#awaited = new Set(this.scope.health.waiting.map(({ origin }) => origin));
    for (let [seq, removed] = [Math.max(1, identity.firstSeq) - 1, 0]; this.#goesOn(seq, untilSeq);) {
      let reader: LogReader | undefined;
      try {
        reader = await log.read({ generation, fromSeq: seq + 1 });
        while (this.#goesOn(seq, untilSeq)) {
          const entries = await reader.next({
            maxEntries: limits.applyEntries,
            maxBytes: limits.applyBytes,
            signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(SILENCE_MS)]),
          });
          await this.#take(
            entries.filter((entry) => entry.seq <= untilSeq),
            order,
          );
          seq = entries.at(-1)?.seq ?? seq;
          this.#readTo = Math.min(seq, untilSeq);
        }
      } catch (error) {
        if (this.#closing.signal.aborted || !isRemoved(error) || removed++ >= MAX_REMOVED) throw error;
        seq = await this.#stepOver(seq, untilSeq, order);
      } finally {
        void reader?.close();
      }
    }
  }

  #goesOn(seq: number, untilSeq: number): boolean {
    return seq < untilSeq && this.#awaited.size > 0;
  }

  /** One by one, until a removed entry is behind. Returns the last one dealt with. */
  async #stepOver(from: number, untilSeq: number, order: LogOrder): Promise<number> {
    const { log, limits } = this.scope;
    const { signal } = this.#closing;
    let seq = Math.max(from, (await log.identity(signal)).firstSeq - 1);
    let removed = seq > from;
    for (let steps = 0; seq < untilSeq && steps < MAX_REMOVED; steps++) {
      const entry = await log.get(seq + 1, signal);
      if (entry !== undefined && (removed || steps > limits.applyEntries)) break;
      if (entry === undefined) removed = true;
      else await this.#take([entry], order);
      seq++;
    }
    this.#readTo = Math.max(seq, from);
    return seq;
  }

  async #take(entries: readonly LogEntry[], order: LogOrder): Promise<void> {
    const { members, id, store, health } = this.scope;
    const { vector } = store.state();
    for (const { origin } of health.waiting) this.#awaited.add(origin);
    const awaited = this.#awaited;
    for (const entry of entries) if (awaited.has(entry.origin)) this.#noteUnreadable(entry);
    const counting = entries.filter(
      (entry) =>
        (entry.origin === EPOCH_ORIGIN || (entry.origin !== id && awaited.has(entry.origin))) &&
        order.counts(entry),
    );
    const late = counting.filter((entry) => isLate(entry, vector));
    if (late.length === 0) return;
    await members.lookUp(new Set(late.map(({ origin }) => origin)));
    const { verdicts, refused } = await this.replica.ask(
      'rejudge',
      { entries: late },
      { timeoutMs: Infinity },
    );
    for (const { origin, seq, obstacle, isNext } of verdicts) {
      if (obstacle === undefined) this.#obstacles.delete(origin);
      else if (isNext && !this.#obstacles.has(origin)) this.#obstacles.set(origin, { seq, obstacle });
    }
    if (refused !== undefined) throw refused;
  }

  #noteUnreadable({ origin, seq, data }: LogEntry): void {
    try {
      summarize(data);
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (!this.#unreadable.has(origin)) this.#unreadable.set(origin, { seq, obstacle: error.message });
    }
  }
}

/** Something of it is not applied. */
function isLate({ data, origin }: LogEntry, vector: VectorClock): boolean {
  try {
    return summarize(data).some((batch) => batch.lastCounter > counterOf(vector, origin));
  } catch (error) {
    if (error instanceof AntiphonError) return false;
    throw error;
  }
}

function isRemoved(error: unknown): boolean {
  return error instanceof AntiphonError && (error.code === 'LOG_REPLACED' || error.code === 'ABORTED');
}
