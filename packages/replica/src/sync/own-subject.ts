import { AntiphonError, newestEpoch, type LogReader } from '@antiphon/core';
import { intakeRules } from '../deliver/rules.js';
import { Deadline } from '../wait/deadline.js';
import { assertSameLog } from '../log/log-check.js';
import { OwnEntries } from '../log/own-entries.js';
import { OwnScan } from '../deliver/own-recovery.js';
import type { Scope } from '../state/scope.js';
import { NATS_IS_SILENT, type InTheWay } from './in-the-way.js';

/** Questions to the log have a limit: a turn must end. */
const TIMEOUT_MS = 2000;
const READ = { maxEntries: 256, maxBytes: 1024 * 1024 };

/**
 * What of our own messages after the position counts, as every replica decides it from the order of
 * the log.
 */
export interface OwnTail {
  /** The last own counter that the log gives away for good. */
  readonly counter: number;
  /** The latest hybrid time of what is there. */
  readonly time: number;
  /**
   * Entries of our groups, by token. An attempt whose counters another one took is not among them.
   */
  readonly groups: ReadonlyMap<string, number>;
}

/**
 * What the log has of this replica, asked freshly. Everything throws LOG_UNAVAILABLE or TIMEOUT.
 */
export class OwnSubject {
  readonly #entries: OwnEntries;

  constructor(
    private readonly scope: Scope,
    private readonly inTheWay: InTheWay,
  ) {
    this.#entries = new OwnEntries(scope);
  }

  /** 0: nothing. Throws LOG_REPLACED when the log is not what it was. */
  async newestSeq(): Promise<number> {
    const { log, document, positions } = this.scope;
    const [identity, newest] = await this.#asking((deadline) =>
      Promise.all([log.identity(deadline.signal), this.#entries.check(deadline)]),
    );
    assertSameLog(identity, document.generation, positions.passed);
    return newest?.seq ?? 0;
  }

  /** Own messages after the position, up to the entry `lastSeq`, which is in the log. */
  async tail(lastSeq: number): Promise<OwnTail> {
    const { log, document, id, store, ownLog } = this.scope;
    const { generation } = document;
    const state = store.state();
    const counts = ownLog.at(state, this.scope);
    const scan = new OwnScan(id, counts, newestEpoch(state), intakeRules(this.scope));
    const groups = new Map<string, number>();
    const { seq: positionSeq } = state.position;
    if (positionSeq < lastSeq) {
      const reader = await log.read({ generation, fromSeq: positionSeq + 1 });
      try {
        await this.#scan(reader, lastSeq, scan, groups);
      } finally {
        void reader.close();
      }
    }
    return { counter: scan.counter, time: scan.time, groups };
  }

  async #scan(reader: LogReader, lastSeq: number, scan: OwnScan, groups: Map<string, number>): Promise<void> {
    for (;;) {
      for (const entry of await this.#asking(({ signal }) => reader.next({ ...READ, signal }))) {
        if (entry.seq > lastSeq) return;
        for (const batch of scan.take(entry))
          if (batch.kind === 'transactions' && batch.sync !== undefined)
            groups.set(batch.sync.token, entry.seq);
        if (entry.seq >= lastSeq) return;
      }
    }
  }

  async #asking<T>(question: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = new Deadline(this.scope.clock, TIMEOUT_MS);
    try {
      return await this.inTheWay.during(NATS_IS_SILENT, question(deadline));
    } catch (error) {
      // To the port it looks as if the caller had given up; the callers of a write must be told
      // that the log did not answer.
      throw deadline.signal.reason instanceof AntiphonError ? deadline.signal.reason : error;
    } finally {
      deadline.end();
    }
  }
}
