import type { ApplyOutcome, ApplyRequest, Log, LogEntry, LogReader } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Applying } from '../memory/store/applying.js';
import type { DatabaseTransaction } from '../memory/store/database-transaction.js';
import { MemoryStore } from '../memory/store/index.js';
import { readRecord, writeRecord } from '../memory/store/replica-record.js';
import { OUTBOX, versionsOf } from '../memory/store/spaces.js';
import type { Defect, SimulationOptions } from './options.js';
import { simulate } from './simulate.js';
import type { Violation } from './violation.js';

const SEEDS = 25;

/** Seals what others wrote here only after it has applied what they had not seen. */
class SealsAfterApplying extends MemoryStore {
  protected override async applySteps(
    transaction: DatabaseTransaction,
    request: ApplyRequest,
  ): Promise<ApplyOutcome> {
    const record = readRecord(transaction);
    const clock = this.hybridClock();
    if (record === undefined) throw new Error('not installed');
    const applying = new Applying(
      transaction,
      request,
      { database: this.database, clock, sliceChanges: this.sliceChanges },
      record,
    );
    const outcome = await applying.run();
    writeRecord(transaction, this.sealCaptured(transaction, applying.record).record);
    return outcome;
  }
}

/** Forgets that a row was deleted. */
class ForgetsDeletions extends MemoryStore {
  protected override async applySteps(
    transaction: DatabaseTransaction,
    request: ApplyRequest,
  ): Promise<ApplyOutcome> {
    const outcome = await super.applySteps(transaction, request);
    for (const table of this.database.tableNames(transaction)) {
      for (const [key, { deleted }] of [...transaction.entries(versionsOf(table))]) {
        if (deleted) transaction.delete(versionsOf(table), key);
      }
    }
    return outcome;
  }
}

/** Commits the position before the rows, in a transaction of its own. */
class CommitsPositionApart extends MemoryStore {
  override async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    const { seq } = this.state().position;
    await super.apply({ ...request, steps: [] });
    if (request.position.seq < seq) throw new Error('the position went back');
    return await super.apply(request);
  }
}

/** Applies the steps of a request in transactions of their own, but all with the last position. */
class AppliesPiecemeal extends MemoryStore {
  override async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    let outcome: ApplyOutcome = { transactions: 0, rows: 0, conflicts: 0 };
    for (const step of request.steps) outcome = await super.apply({ ...request, steps: [step] });
    return outcome;
  }
}

/** Gives counters again that the log knows already. */
class ForgetsItsPast extends MemoryStore {
  override resumeFrom(): Promise<void> {
    return Promise.resolve();
  }
}

/** Drops sealed messages as soon as they were read. */
class DropsItsOutbox extends MemoryStore {
  override async sealed(...args: Parameters<MemoryStore['sealed']>): ReturnType<MemoryStore['sealed']> {
    const messages = await super.sealed(...args);
    if (this.database.busy) return messages;
    const transaction = this.database.begin();
    for (const [key] of [...transaction.entries(OUTBOX)]) transaction.delete(OUTBOX, key);
    transaction.commit();
    return messages;
  }
}

/** Says that one in ten messages was stored, and has not stored it. */
function lyingLog(log: Log): Log {
  let appends = 0;
  return wrapped(log, {
    append: (request, settled) => {
      if (++appends % 10 !== 0) return log.append(request, settled);
      void log.identity().then(
        ({ lastSeq }) => settled({ type: 'stored', seq: lastSeq + 1, duplicate: false }),
        () => log.append(request, settled),
      );
    },
  });
}

/** Leaves every twentieth entry out of what it shows. */
function forgetfulLog(log: Log): Log {
  return wrapped(log, {
    read: async (options) => {
      const reader = await log.read(options);
      const next: LogReader['next'] = async (limits): Promise<readonly LogEntry[]> => {
        for (;;) {
          const entries = (await reader.next(limits)).filter(({ seq }) => seq % 20 !== 0);
          if (entries.length > 0) return entries;
        }
      };
      return { next, ack: (seq) => reader.ack(seq), close: () => reader.close() };
    },
  });
}

/** Shows pairs of entries in the wrong order. */
function disorderlyLog(log: Log): Log {
  return wrapped(log, {
    read: async (options) => {
      const reader = await log.read(options);
      const next: LogReader['next'] = async (limits) => [...(await reader.next(limits))].reverse();
      return { next, ack: (seq) => reader.ack(seq), close: () => reader.close() };
    },
  });
}

function wrapped(log: Log, changes: Partial<Log>): Log {
  return new Proxy(log, {
    get: (target, name) => {
      if (name in changes) return changes[name as keyof Log];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

async function firstCaught(options: SimulationOptions): Promise<readonly Violation[]> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations } = await simulate(seed, options);
    if (violations.length > 0) return violations;
  }
  return [];
}

describe('the checks of the simulator find', () => {
  const defects: readonly (readonly [
    name: string,
    defect: Defect,
    invariants: readonly Violation['invariant'][],
  ])[] = [
    [
      'a store that seals after applying',
      { store: (options) => new SealsAfterApplying(options) },
      ['I4', 'I5'],
    ],
    ['a store that forgets deletions', { store: (options) => new ForgetsDeletions(options) }, ['I4']],
    [
      'a store that commits the position before the rows',
      { store: (options) => new CommitsPositionApart(options) },
      ['I1'],
    ],
    ['a store that applies piecemeal', { store: (options) => new AppliesPiecemeal(options) }, ['I1']],
    [
      'a store that uses counters twice',
      { store: (options) => new ForgetsItsPast(options) },
      ['I2', 'I3', 'I4', 'liveness'],
    ],
    [
      'a store that drops its outbox',
      { store: (options) => new DropsItsOutbox(options) },
      ['I3', 'liveness'],
    ],
    ['a log that lies about what it stored', { log: lyingLog }, ['I2', 'I3', 'liveness']],
    ['a log that leaves entries out', { log: forgetfulLog }, ['I1', 'I2', 'liveness']],
    ['a log that shows entries in the wrong order', { log: disorderlyLog }, ['I1', 'I2', 'I4', 'liveness']],
  ];

  it.each(defects)('%s', { timeout: 60_000 }, async (_name, defect, invariants) => {
    const violations = await firstCaught({ defect, durationMs: 8000 });
    expect(violations.map(({ invariant }) => invariant)).toEqual(
      expect.arrayContaining([expect.any(String)]) as unknown,
    );
    expect(violations.some(({ invariant }) => invariants.includes(invariant))).toBe(true);
  });
});
