import { abortError, AntiphonError, TaggedValue, type Value } from '@antiphon/core';
import { ReaderChild, type Reading } from './reader-child.js';
import { storeClosed } from './errors.js';
import type { ReadRequest, ReadResult } from './reader-protocol.js';

/** Reads that wait for a free process; more are refused with OVERLOADED. */
const MAX_WAITING = 1000;
/**
 * A read that its caller gave up is ended with its process, unless it is over by itself within this
 * time.
 */
const CANCEL_GRACE_MS = 50;
/** Another process costs more than a short wait for one that is busy. */
const PATIENCE_MS = 25;
/** A process beyond those that are kept ends after so long without work. */
const IDLE_MS = 30_000;
const CLOSE_MS = 1000;

export interface ReaderOptions {
  readonly file: string;
  /** Processes at most. */
  readonly most: number;
  /** Processes that stay, once they were started, for the next read. */
  readonly kept: number;
}

interface Waiting extends Reading {
  readonly signal: AbortSignal | undefined;
  /** Set while a process reads for it. */
  member: Member | undefined;
  onAbort(): void;
}

interface Member {
  readonly child: ReaderChild;
  idle: NodeJS.Timeout | undefined;
}

/**
 * Reads in processes of their own, each with a read-only connection, started when first needed. A
 * statement inside SQLite cannot be interrupted, a process can be killed: no read outlives its
 * caller's patience, and none holds up this process's own end.
 */
export class Reader {
  readonly #members = new Set<Member>();
  readonly #waiting: Waiting[] = [];
  #impatience: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(private readonly options: ReaderOptions) {}

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
    if (this.#waiting.length >= MAX_WAITING) {
      const message = `${MAX_WAITING} reads are waiting already. Raise \`readers\`, or read less.`;
      return Promise.reject(new AntiphonError('OVERLOADED', message));
    }
    return new Promise((resolve, reject) => {
      const ended = (): void => signal?.removeEventListener('abort', waiting.onAbort);
      const waiting: Waiting = {
        ...{ request, signal, member: undefined },
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
      this.#dispatch();
    });
  }

  #giveUp(waiting: Waiting): void {
    const { signal, member } = waiting;
    waiting.reject(givenUp(signal));
    const index = this.#waiting.indexOf(waiting);
    if (index >= 0) this.#waiting.splice(index, 1);
    if (member === undefined) return;
    setTimeout(() => {
      if (member.child.reading === waiting) this.#replace(member, signal);
    }, CANCEL_GRACE_MS);
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const member = this.#free();
      if (member === undefined) break;
      const next = this.#waiting.shift();
      if (next !== undefined) this.#run(member, next);
    }
    if (this.#waiting.length === 0) clearTimeout(this.#impatience);
    else if (this.#members.size < this.options.most) this.#soonAnother();
  }

  #free(): Member | undefined {
    for (const member of this.#members) if (member.child.reading === undefined) return member;
    return this.#members.size === 0 ? this.#start() : undefined;
  }

  #soonAnother(): void {
    clearTimeout(this.#impatience);
    this.#impatience = setTimeout(() => {
      if (this.#closed || this.#waiting.length === 0 || this.#members.size >= this.options.most) return;
      if (this.#start() !== undefined) this.#dispatch();
    }, PATIENCE_MS);
    this.#impatience.unref();
  }

  /** undefined when no process can be started; whoever waits first is told why. */
  #start(): Member | undefined {
    try {
      const member: Member = {
        idle: undefined,
        child: new ReaderChild(this.options.file, {
          freed: () => this.#freed(member),
          lost: () => this.#lost(member),
        }),
      };
      this.#members.add(member);
      return member;
    } catch (thrown) {
      this.#waiting.shift()?.reject(thrown);
      return undefined;
    }
  }

  #run(member: Member, waiting: Waiting): void {
    clearTimeout(member.idle);
    waiting.member = member;
    member.child.run(waiting);
  }

  /**
   * Whoever reads is likely to read again: the next one should not have to wait for a process to
   * start.
   */
  #replace(member: Member, signal: AbortSignal | undefined): void {
    member.child.kill(() => givenUp(signal));
    if (!this.#closed && this.#members.size < this.options.kept) this.#start();
    this.#dispatch();
  }

  #freed(member: Member): void {
    this.#dispatch();
    if (member.child.reading !== undefined) return;
    member.idle = setTimeout(() => {
      if (member.child.reading === undefined && this.#members.size > this.options.kept)
        member.child.kill(storeClosed);
    }, IDLE_MS);
    member.idle.unref();
  }

  #lost(member: Member): void {
    clearTimeout(member.idle);
    this.#members.delete(member);
    if (!this.#closed) this.#dispatch();
  }

  /** Whatever they do: bounded in time. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#impatience);
    for (const { reject } of this.#waiting.splice(0)) reject(storeClosed());
    const children = [...this.#members].map(({ child }) => child);
    for (const child of children) child.kill(storeClosed);
    await new Promise<void>((resolve) => {
      // Idle processes do not keep this one alive; without this timer it would end before they
      // have.
      const limit = setTimeout(resolve, CLOSE_MS);
      void Promise.all(children.map(({ ended }) => ended)).then(() => {
        clearTimeout(limit);
        resolve();
      });
    });
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
