import type { Clock, SealedMessage, Store } from '@antiphon/core';
import type { SentMark } from './send-window.js';
import type { ResendAnswer } from '../state/protocols.js';
import { groupOf } from '../state/certification.js';
import type { Scope } from '../state/scope.js';

/** Who asks again for the same, or for more, waits at least so long, twice as long each time. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 300_000;

interface Range {
  /** The next counter to be in the log again. */
  from: number;
  /** The last one. */
  readonly until: number;
  /** Not all of it has been sent. */
  sending: boolean;
}

export interface ResendDeps {
  readonly id: string;
  readonly store: Pick<Store, 'sealed' | 'state'>;
  readonly clock: Clock;
  readonly pageBytes: number;
  /** Groups are judged by their place in the log. */
  readonly certified: boolean;
}

/**
 * Published transactions that are to be published again, because somebody misses them: which, and
 * not too often. Receivers drop everything after a hole, so all after it is sent again as well. One
 * range at a time.
 */
export class Resend {
  #range: Range | undefined;
  #last = { from: 0, atMs: -Infinity, times: 0 };

  constructor(private readonly deps: ResendDeps) {}

  /** Where the relay has to send from; undefined when nothing is to be sent again. */
  get cursor(): SentMark | undefined {
    const range = this.#range;
    if (range?.sending !== true) return undefined;
    return { counter: range.from - 1, part: 0, whole: true };
  }

  /**
   * Everything before the first message without an answer is sent again too, when the relay goes
   * back.
   */
  restart(): void {
    if (this.#range !== undefined) this.#range.sending = true;
  }

  /** Of a page after `cursor`, what belongs to the range. Nothing: all of it was sent. */
  within(page: readonly SealedMessage[]): readonly SealedMessage[] {
    const range = this.#range;
    const within = range === undefined ? [] : page.filter(({ lastCounter }) => lastCounter <= range.until);
    if (within.length === 0 && range !== undefined) range.sending = false;
    return within;
  }

  /** The log has everything up to this counter of what was sent last. */
  acknowledged(counter: number): void {
    const range = this.#range;
    if (range === undefined) return;
    range.from = Math.max(range.from, counter + 1);
    if (counter >= range.until) this.#range = undefined;
  }

  /** Decides about a question for `from` and everything after it. */
  async ask(from: number): Promise<ResendAnswer> {
    const { id, store, clock } = this.deps;
    const { publishedCounter } = store.state();
    if (from > publishedCounter) return answer('coming', `${id} has not published ${id}:${from} yet.`);
    const range = this.#range;
    if (range !== undefined) {
      if (from >= range.from) return answer('coming', `${id} is publishing ${id}:${from} again.`);
      return answer('later', `${id} is publishing others again.`);
    }
    const { from: before, atMs, times } = this.#last;
    const again = from <= before;
    const pauseMs = again ? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(times, 20)) : 0;
    if (clock.monotonicMs() - atMs < pauseMs)
      return answer('later', `${id} has just published ${id}:${from} again.`);
    const until = await this.#lastAfter(from, publishedCounter);
    if (typeof until !== 'number') return until;
    this.#range = { from, until, sending: true };
    this.#last = { from, atMs: clock.monotonicMs(), times: again ? times + 1 : 0 };
    return answer('sending', `${id} publishes ${id}:${from} again, and everything after it.`);
  }

  /** The last counter that can be sent again in one go, or why none can. */
  async #lastAfter(from: number, publishedCounter: number): Promise<number | ResendAnswer> {
    const { id, store, pageBytes, certified } = this.deps;
    let last = from - 1;
    for (let mark = { counter: from - 1, part: 0 }; ;) {
      const page = await store.sealed(mark, pageBytes);
      const end = page.at(-1);
      if (end === undefined) break;
      mark = { counter: end.lastCounter, part: end.part };
      // Parts of a big transaction stay until it is pruned.
      for (const message of page.filter(({ lastCounter }) => lastCounter >= from)) {
        // Nobody could take what comes behind a hole.
        if (message.firstCounter > last + 1) return last < from ? gone(id, from) : last;
        if (message.lastCounter > publishedCounter) break;
        if (certified && groupOf(message.data) !== undefined) {
          return last < from ? answer('refused', judgedThere(id, from)) : last;
        }
        last = message.lastCounter;
      }
      // Only a group in between could end it before.
      if (!certified || last < end.lastCounter) break;
    }
    if (last < from) return gone(id, from);
    return certified ? last : publishedCounter;
  }
}

/** Of a replica that is not the primary: what it sealed earlier would be fenced. */
export function sendsNothing({ id, authority }: Pick<Scope, 'id' | 'authority'>): ResendAnswer {
  const { primary } = authority.current();
  const whose =
    primary === undefined || primary === id ? 'is not the primary' : `follows ${primary}, the primary`;
  return answer('refused', `${id} ${whose}, and publishes nothing again.`);
}

function gone(id: string, counter: number): ResendAnswer {
  return answer('gone', `${id} no longer keeps ${id}:${counter}: it was pruned.`);
}

function judgedThere(id: string, counter: number): string {
  return `${id}:${counter} is a synchronous transaction. It was judged at its place in the log, and at another one the verdict could differ.`;
}

function answer(state: ResendAnswer['state'], message: string): ResendAnswer {
  return { state, message };
}
