import { abortError, AntiphonError, TaggedValue, type Value } from '@antiphon/core';
import { ReaderChild, type Reading } from './reader-child.js';
import { programsGone } from './reading-program.js';
import { storeClosed } from './errors.js';
import type { ReadRequest, ReadResult } from './reader-protocol.js';
import { ReadingPause } from './reading-pause.js';

/** Reads that wait for a free process; more are refused with OVERLOADED. */
const MAX_WAITING = 1000;
/** While none begins (see ReadingPause): as many as come in that time. */
const MAX_PAUSED = 10_000;
/** Another process costs more than a short wait for one that is busy. */
const PATIENCE_MS = 25;
/** Reads that a process gets at once are those that it answers within this time, as most do. */
const BATCH_MS = 2;
const MOST_AT_ONCE = 64;
/** The weight of the newest read in the moving average of what one takes. */
const NEWEST_SHARE = 0.1;
/** How often it is looked whether reads may go on. */
const PAUSE_LOOK_MS = 20;
/** A process beyond those that are kept ends after so long without work. */
const IDLE_MS = 30_000;

export interface ReaderOptions {
  readonly file: string;
  /** Processes at most. */
  readonly most: number;
  /** Processes that stay, once they were started, for the next read. */
  readonly kept: number;
  /** Of SQLite's write-ahead log, beyond which reads pause for a moment. */
  readonly logLimitBytes?: number;
}

interface Waiting extends Reading {
  readonly signal: AbortSignal | undefined;
  readonly sinceMs: number;
  /** The process that has it. */
  member: Member | undefined;
  onAbort(): void;
}

interface Member {
  readonly child: ReaderChild;
  idle: NodeJS.Timeout | undefined;
  /** While it has more than one read, until the next answer. */
  patience: NodeJS.Timeout | undefined;
}

/**
 * Reads in processes of their own, each with a read-only connection, started when first needed. A
 * statement inside SQLite cannot be interrupted, a process can be killed: no read outlives its
 * caller's patience, and none holds up this process's own end. A process gets several short reads
 * at once (docs/decisions/0102).
 */
export class Reader {
  readonly #members = new Set<Member>();
  readonly #waiting: Waiting[] = [];
  #impatience: NodeJS.Timeout | undefined;
  /** What a read takes of a process; at first nothing is known of it. */
  #averageMs = BATCH_MS;
  #isDispatching = false;
  #closed = false;
  readonly #pause: ReadingPause;
  #pausing: NodeJS.Timeout | undefined;
  #isPaused = false;
  /** Some that wait now have come in a pause. */
  #hasPaused = false;

  constructor(private readonly options: ReaderOptions) {
    this.#pause = new ReadingPause(options.file, options.logLimitBytes);
  }

  /** Of the processes that run now. */
  get pids(): readonly number[] {
    return [...this.#members].flatMap(({ child }) => child.pid ?? []);
  }

  /**
   * Rejects with the signal's reason when that is an AntiphonError (a time limit), else with
   * ABORTED.
   */
  read<Type extends ReadRequest['type']>(
    request: Extract<ReadRequest, { type: Type }>,
    signal?: AbortSignal,
  ): Promise<Extract<ReadResult, { type: Type }>> {
    if (this.#closed) return Promise.reject(storeClosed());
    if (signal?.aborted === true) return Promise.reject(givenUp(signal));
    if (this.#waiting.length < MAX_WAITING) this.#hasPaused = this.#isPaused;
    else if (this.#waiting.length >= (this.#hasPaused ? MAX_PAUSED : MAX_WAITING))
      return Promise.reject(this.#overloaded());
    return new Promise((resolve, reject) => {
      const ended = (): void => signal?.removeEventListener('abort', waiting.onAbort);
      const waiting: Waiting = {
        ...{ request, signal, sinceMs: performance.now(), member: undefined },
        resolve: (result) => {
          ended();
          resolve(result as Extract<ReadResult, { type: Type }>);
        },
        reject: (error) => {
          ended();
          reject(error);
        },
        onAbort: () => this.#giveUp(waiting),
      };
      signal?.addEventListener('abort', waiting.onAbort, { once: true });
      this.#waiting.push(waiting);
      this.#dispatchSoon();
    });
  }

  #overloaded(): AntiphonError {
    const waiting = `${this.#waiting.length} reads are waiting already`;
    return new AntiphonError(
      'OVERLOADED',
      this.#hasPaused
        ? `${waiting} since reads paused for SQLite's write-ahead log. Call again in a moment, or read elsewhere.`
        : `${waiting}. Raise \`readers\`, or read less.`,
    );
  }

  /** When all reads of this turn are here: one message has several of them. */
  #dispatchSoon(): void {
    if (this.#isDispatching) return;
    this.#isDispatching = true;
    process.nextTick(() => {
      this.#isDispatching = false;
      if (!this.#closed) this.#dispatch();
    });
  }

  #giveUp(waiting: Waiting): void {
    waiting.reject(givenUp(waiting.signal));
    const index = this.#waiting.indexOf(waiting);
    if (index >= 0) this.#waiting.splice(index, 1);
    waiting.member?.child.drop(waiting);
  }

  #dispatch(): void {
    if (this.#waiting.length > 0 && this.#isPausing()) return;
    while (this.#waiting.length > 0) {
      const member = this.#free();
      if (member === undefined) break;
      this.#run(member, this.#waiting.splice(0, this.#atOnce()));
    }
    this.#mindWaiting();
  }

  #isPausing(): boolean {
    clearTimeout(this.#pausing);
    const isIdle = [...this.#members].every(({ child }) => child.isIdle);
    this.#isPaused = this.#pause.isOn(isIdle);
    this.#hasPaused ||= this.#isPaused;
    if (!this.#isPaused) return false;
    this.#pausing = setTimeout(() => {
      if (!this.#closed) this.#dispatch();
    }, PAUSE_LOOK_MS);
    return true;
  }

  /** Each message to a process and back costs more than a short read does. */
  #atOnce(): number {
    return Math.min(MOST_AT_ONCE, Math.max(1, Math.floor(BATCH_MS / this.#averageMs)));
  }

  #free(): Member | undefined {
    for (const member of this.#members) if (member.child.isIdle) return member;
    return this.#members.size === 0 ? this.#start() : undefined;
  }

  /** Who waits for too long gets another process, however many come behind it meanwhile. */
  #mindWaiting(): void {
    if (this.#closed || this.#waiting.length === 0 || this.#members.size >= this.options.most) return;
    this.#impatience ??= setTimeout(() => {
      this.#impatience = undefined;
      const [waiting] = this.#waiting;
      const isLong = waiting !== undefined && performance.now() - waiting.sinceMs >= PATIENCE_MS;
      // Where it cannot be started, it is tried again.
      if (isLong && !this.#closed && this.#members.size < this.options.most) this.#start();
      this.#dispatch();
    }, PATIENCE_MS).unref();
  }

  /** undefined when no process can be started; without another one, whoever waits is told why. */
  #start(): Member | undefined {
    try {
      const member: Member = {
        ...{ idle: undefined, patience: undefined },
        child: new ReaderChild(this.options.file, {
          answered: (tookMs) => this.#answered(member, tookMs),
          stuck: () => this.#replace(member),
          lost: (left) => this.#lost(member, left as readonly Waiting[]),
        }),
      };
      this.#members.add(member);
      return member;
    } catch (thrown) {
      // Where others read, they go on with what waits.
      if (this.#members.size === 0) for (const { reject } of this.#waiting.splice(0)) reject(thrown);
      return undefined;
    }
  }

  #run(member: Member, batch: readonly Waiting[]): void {
    clearTimeout(member.idle);
    for (const waiting of batch) waiting.member = member;
    if (batch.length > 1) member.patience = setTimeout(() => this.#takeBack(member), PATIENCE_MS).unref();
    member.child.run(batch);
  }

  /** One of its reads takes long: those behind it are read by another process, if there is one. */
  #takeBack(member: Member): void {
    const another = this.#free() ?? (this.#members.size < this.options.most ? this.#start() : undefined);
    if (another === undefined) return void member.patience?.refresh();
    this.#waitAgain(member.child.takeBack() as readonly Waiting[]);
    this.#dispatch();
  }

  #waitAgain(batch: readonly Waiting[]): void {
    for (const waiting of batch) waiting.member = undefined;
    this.#waiting.unshift(...batch);
  }

  /**
   * Whoever reads is likely to read again: the next one should not have to wait for a process to
   * start.
   */
  #replace(member: Member): void {
    member.child.kill(storeClosed);
    if (!this.#closed && this.#members.size < this.options.kept) this.#start();
    this.#dispatch();
  }

  #answered(member: Member, tookMs: number): void {
    this.#averageMs += (tookMs - this.#averageMs) * NEWEST_SHARE;
    if (!member.child.isIdle) return void member.patience?.refresh();
    clearTimeout(member.patience);
    member.patience = undefined;
    this.#dispatch();
    if (!member.child.isIdle) return;
    member.idle = setTimeout(() => {
      if (member.child.isIdle && this.#members.size > this.options.kept) member.child.kill(storeClosed);
    }, IDLE_MS);
    member.idle.unref();
  }

  #lost(member: Member, left: readonly Waiting[]): void {
    clearTimeout(member.idle);
    clearTimeout(member.patience);
    this.#members.delete(member);
    if (!this.#closed) {
      this.#waitAgain(left);
      this.#dispatch();
    } else for (const { reject } of left) reject(storeClosed());
  }

  /** Whatever they do: bounded in time. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#impatience);
    clearTimeout(this.#pausing);
    for (const { reject } of this.#waiting.splice(0)) reject(storeClosed());
    const children = [...this.#members].map(({ child }) => child);
    for (const child of children) child.kill(storeClosed);
    await programsGone(children.map(({ ended }) => ended));
  }
}

function givenUp(signal: AbortSignal | undefined): AntiphonError {
  return abortError(signal, 'The caller gave up the read.');
}

/** Structured clone drops the class of tagged values. */
export function reviveValue(value: Value): Value {
  if (
    typeof value !== 'object' ||
    value === null ||
    value instanceof Uint8Array ||
    value instanceof TaggedValue
  )
    return value;
  const { tag, bytes } = value as unknown as { tag: TaggedValue['tag']; bytes: Uint8Array };
  return new TaggedValue(tag, bytes);
}
