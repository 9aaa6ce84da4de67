import {
  AntiphonError,
  type Clock,
  decodeEpochRecord,
  FIRST_ENTRY_SEQ,
  type LogEntry,
  type Store,
  summarize,
} from '@antiphon/core';
import type { Deadline } from '../wait/deadline.js';
import { confirmedLoss } from './log-check.js';
import type { VerifiedLog } from './verified-log.js';

const SCAN = { maxEntries: 1024, maxBytes: 4 * 1024 * 1024 };
/** So many entries at once are looked through for own ones, from the newest back. */
const WINDOW = 20_000;

interface OwnEntriesScope {
  readonly id: string;
  readonly log: VerifiedLog;
  readonly store: Store;
  readonly clock: Clock;
}

interface Finding {
  readonly newest: LogEntry | undefined;
  readonly loss: string | undefined;
}

/**
 * I14: what counts as published is in the log, unless it was trimmed. Somebody may remove the
 * newest own entry after others' have followed it: the position has passed it, and nothing else
 * would ever tell.
 */
export class OwnEntries {
  /**
   * A newest own entry that is older than what was published, where nothing was found to be lost.
   */
  #searched = { seq: -1, publishedCounter: 0 };

  constructor(private readonly scope: OwnEntriesScope) {}

  /** The newest own entry. Throws LOG_REPLACED, LOG_UNAVAILABLE, TIMEOUT, ABORTED. */
  async check(deadline: Deadline): Promise<LogEntry | undefined> {
    let newest: LogEntry | undefined;
    const look = async (): Promise<string | undefined> => {
      const found = await this.#look(deadline);
      newest = found.newest;
      // It answers: only silence ends the time.
      if (found.loss !== undefined) deadline.renew();
      return found.loss;
    };
    const loss = await confirmedLoss(this.scope, look, deadline.signal);
    if (loss !== undefined) throw this.scope.log.replace(loss);
    return newest;
  }

  async #look(deadline: Deadline): Promise<Finding> {
    const { log, store, id } = this.scope;
    const { publishedCounter, position } = store.state();
    const newest = await log.lastOf(id, deadline.signal);
    // What comes after the position is looked at when it is read.
    const isPlain =
      publishedCounter === 0 ||
      (newest !== undefined && (newest.seq > position.seq || lastCounterIn(newest) >= publishedCounter));
    return { newest, loss: isPlain ? undefined : await this.#lossUpTo(newest, publishedCounter, deadline) };
  }

  async #lossUpTo(
    newest: LogEntry | undefined,
    publishedCounter: number,
    deadline: Deadline,
  ): Promise<string | undefined> {
    const { log, id, store } = this.scope;
    // What was spent before an own epoch was published by it.
    const epochs = store.state().epochs.filter(({ primary, seq }) => primary === id && seq > 0);
    const seq = Math.max(newest?.seq ?? 0, epochs.at(-1)?.seq ?? 0);
    if (seq === this.#searched.seq && publishedCounter === this.#searched.publishedCounter) return undefined;
    const { firstSeq, generation } = await log.identity(deadline.signal);
    // A message that was thought lost and came late may stand after newer ones: not far, as a rule.
    let counter = 0;
    for (let upTo = seq; upTo >= Math.max(1, firstSeq) && counter < publishedCounter; upTo -= WINDOW) {
      const fromSeq = Math.max(1, firstSeq, upTo - WINDOW + 1);
      counter = Math.max(counter, await this.#highest(generation, fromSeq, upTo, deadline));
    }
    // The rest may have been trimmed.
    if (counter >= publishedCounter || firstSeq > FIRST_ENTRY_SEQ) {
      this.#searched = { seq, publishedCounter };
      return undefined;
    }
    const upTo = counter === 0 ? '' : `: its own there end with ${id}:${counter}`;
    return `${id}:${publishedCounter}, which this replica has published, was removed from it${upTo}`;
  }

  async #highest(generation: string, fromSeq: number, lastSeq: number, deadline: Deadline): Promise<number> {
    const { log, id, store } = this.scope;
    const epochs = new Set(store.state().epochs.flatMap(({ primary, seq }) => (primary === id ? [seq] : [])));
    const reader = await log.read({ generation, fromSeq });
    try {
      let highest = 0;
      for (let seq = fromSeq - 1; seq < lastSeq;) {
        for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
          ({ seq } = entry);
          if (seq > lastSeq) break;
          if (entry.origin === id) highest = Math.max(highest, lastCounterIn(entry));
          if (epochs.has(entry.seq)) highest = Math.max(highest, decodeEpochRecord(entry.data)?.after ?? 0);
        }
        deadline.renew();
      }
      return highest;
    } finally {
      void reader.close();
    }
  }
}

/** 0 for what cannot be read. */
function lastCounterIn({ data }: LogEntry): number {
  try {
    return Math.max(0, ...summarize(data).map(({ lastCounter }) => lastCounter));
  } catch (error) {
    if (error instanceof AntiphonError) return 0;
    throw error;
  }
}
