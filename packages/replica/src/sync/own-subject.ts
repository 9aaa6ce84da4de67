import { AntiphonError, decodeBatches, type LogReader } from '@antiphon/core';
import { Deadline } from '../deadline.js';
import { latestTime } from '../intake-check.js';
import { assertSameLog } from '../log-check.js';
import type { Scope } from '../scope.js';
import { groupOf } from './certification.js';

/** Questions to the log have a limit: a turn must end. */
const TIMEOUT_MS = 2000;
const READ = { maxEntries: 256, maxBytes: 1024 * 1024 };

/** One of our own synchronous groups, as the log has it. */
export interface OwnGroup {
  readonly seq: number;
  readonly token: string;
  readonly lastCounter: number;
  /** The latest hybrid time in it. */
  readonly time: number;
}

/** What the log has of this replica, asked freshly. Everything throws LOG_UNAVAILABLE or TIMEOUT. */
export class OwnSubject {
  constructor(private readonly scope: Scope) {}

  /** 0: nothing. Throws LOG_REPLACED when the log is not what it was. */
  async newestSeq(): Promise<number> {
    const { log, id, document, progress } = this.scope;
    const [identity, newest] = await this.#asking((signal) =>
      Promise.all([log.identity(signal), log.lastOf(id, signal)]),
    );
    assertSameLog(identity, document.generation, progress.seq);
    return newest?.seq ?? 0;
  }

  /** Groups in entries after `after`, up to `lastSeq`, which is in the log. */
  async groups(after: number, lastSeq: number): Promise<readonly OwnGroup[]> {
    if (after >= lastSeq) return [];
    const { log, document } = this.scope;
    const reader = await log.read({ generation: document.generation, fromSeq: after + 1 });
    try {
      return await this.#read(reader, lastSeq);
    } finally {
      void reader.close();
    }
  }

  async #read(reader: LogReader, lastSeq: number): Promise<readonly OwnGroup[]> {
    const { id } = this.scope;
    const groups: OwnGroup[] = [];
    for (;;) {
      for (const { seq, origin, data } of await this.#asking((signal) => reader.next({ ...READ, signal }))) {
        const group = origin === id && seq <= lastSeq ? groupOf(data) : undefined;
        if (group !== undefined) {
          const time = Math.max(...decodeBatches(data).map(latestTime));
          groups.push({ seq, token: group.sync.token, lastCounter: group.lastCounter, time });
        }
        if (seq >= lastSeq) return groups;
      }
    }
  }

  async #asking<T>(question: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = new Deadline(this.scope.clock, TIMEOUT_MS);
    try {
      return await question(deadline.signal);
    } catch (error) {
      // To the port it looks as if the caller had given up; the callers of a write must be told that the log did not answer.
      throw deadline.signal.reason instanceof AntiphonError ? deadline.signal.reason : error;
    } finally {
      deadline.end();
    }
  }
}
