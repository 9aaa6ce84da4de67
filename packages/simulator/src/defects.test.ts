import type { ApplyOutcome, ApplyRequest, InstallReport, Log, LogEntry, LogReader } from '@antiphon/core';
import type { Database } from '@antiphon/sqlite';
import type { Surroundings } from '@antiphon/sqlite/internal';
import { describe, expect, it } from 'vitest';
import { SimulatedStore } from './disk/simulated-store.js';
import { NO_FEATURES, type Features } from './features.js';
import type { Defect, SimulationOptions } from './options.js';
import { MeddlingStore, wrapped } from './planted.js';
import { simulate } from './simulate.js';
import type { Violation } from './violation.js';

const SEEDS = 25;

/** Seals what others wrote here only after it has applied what they had not seen. */
class SealsAfterApplying extends SimulatedStore {
  #applying = false;

  constructor(...[file, surroundings, ...rest]: ConstructorParameters<typeof SimulatedStore>) {
    const isApplying = (): boolean => this.#applying;
    super(
      file,
      {
        ...surroundings,
        openDatabase: (...options) => blind(surroundings.openDatabase(...options), isApplying),
      },
      ...rest,
    );
  }

  override async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    this.#applying = true;
    try {
      return await super.apply(request);
    } finally {
      this.#applying = false;
    }
  }
}

/** Looks for no trigger that is missing or was put back. */
class TrustsItsTriggers extends SimulatedStore {
  constructor(...[file, surroundings, ...rest]: ConstructorParameters<typeof SimulatedStore>) {
    const openDatabase: Surroundings['openDatabase'] = (...options) =>
      trusting(surroundings.openDatabase(...options));
    super(file, { ...surroundings, openDatabase }, ...rest);
  }
}

/** Finds nothing where the triggers that were noted are compared with those that are there. */
function trusting(database: Database): Database {
  const prepare: Database['prepare'] = (sql, form) => {
    const statement = database.prepare(sql, form);
    const looks = ['_antiphon_capture AS c', 'rowid > (SELECT max(o.rowid)'];
    return looks.some((look) => sql.includes(look)) ? wrapped(statement, { all: () => [] }) : statement;
  };
  return wrapped(database, { prepare });
}

/** Sees nothing that was captured while `isBlind`. */
function blind(database: Database, isBlind: () => boolean): Database {
  const prepare: Database['prepare'] = (sql, form) => {
    const statement = database.prepare(sql, form);
    if (!sql.startsWith('SELECT EXISTS (SELECT 1 FROM _antiphon_outbox)')) return statement;
    return wrapped(statement, { get: (...parameters) => (isBlind() ? 0 : statement.get(...parameters)) });
  };
  return wrapped(database, { prepare });
}

/** Forgets that a row was deleted. */
class ForgetsDeletions extends MeddlingStore {
  override async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    const outcome = await super.apply(request);
    this.meddle((database) => {
      const names = database.prepare(
        `SELECT name FROM sqlite_schema WHERE name GLOB '_antiphon_v[0-9]*'`,
        'value',
      );
      for (const name of names.all() as string[]) database.exec(`DELETE FROM ${name} WHERE dead <> 0`);
    });
    return outcome;
  }
}

/** Commits the position before the rows, in a transaction of its own. */
class CommitsPositionApart extends SimulatedStore {
  override async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    await super.apply({ ...request, steps: [] });
    return await super.apply(request);
  }
}

/** Applies the steps of a request in transactions of their own, but all with the last position. */
class AppliesPiecemeal extends SimulatedStore {
  override async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    let outcome: ApplyOutcome = { transactions: 0, rows: 0, conflicts: 0 };
    for (const step of request.steps) outcome = await super.apply({ ...request, steps: [step] });
    return outcome;
  }
}

/** Gives counters again that the log knows already. */
class ForgetsItsPast extends SimulatedStore {
  override resumeFrom(): Promise<number> {
    return Promise.resolve(0);
  }
}

/** Drops sealed messages as soon as they were read. */
class DropsItsOutbox extends MeddlingStore {
  override async sealed(...args: Parameters<SimulatedStore['sealed']>): ReturnType<SimulatedStore['sealed']> {
    const messages = await super.sealed(...args);
    this.meddle((database) => database.exec('DELETE FROM _antiphon_sealed'));
    return messages;
  }
}

/** Captures nothing of one table. */
class CapturesNotAll extends MeddlingStore {
  override async install(...args: Parameters<SimulatedStore['install']>): Promise<InstallReport> {
    const report = await super.install(...args);
    this.meddle((database) =>
      database.exec(
        'CREATE TRIGGER IF NOT EXISTS hide AFTER INSERT ON _antiphon_outbox WHEN new.op = 1 BEGIN DELETE FROM _antiphon_outbox WHERE seq = new.seq; END',
      ),
    );
    return report;
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
    features: Partial<Features>,
  ])[] = [
    ['a store that seals after applying', { store: SealsAfterApplying }, ['I4', 'I5'], NO_FEATURES],
    ['a store that forgets deletions', { store: ForgetsDeletions }, ['I4'], NO_FEATURES],
    [
      'a store that commits the position before the rows',
      { store: CommitsPositionApart },
      ['I1'],
      NO_FEATURES,
    ],
    ['a store that applies piecemeal', { store: AppliesPiecemeal }, ['I1'], NO_FEATURES],
    [
      'a store that uses counters twice',
      { store: ForgetsItsPast },
      ['I2', 'I3', 'I4', 'liveness'],
      NO_FEATURES,
    ],
    ['a store that drops its outbox', { store: DropsItsOutbox }, ['I3', 'liveness'], NO_FEATURES],
    ['a store that does not capture updates', { store: CapturesNotAll }, ['I3', 'I4'], NO_FEATURES],
    [
      'a store that trusts its triggers',
      { store: TrustsItsTriggers },
      ['I4'],
      { randomTables: true, schemaChanges: true },
    ],
    ['a log that lies about what it stored', { log: lyingLog }, ['I2', 'I3', 'liveness'], NO_FEATURES],
    ['a log that leaves entries out', { log: forgetfulLog }, ['I1', 'I2', 'liveness'], NO_FEATURES],
    [
      'a log that shows entries in the wrong order',
      { log: disorderlyLog },
      ['I1', 'I2', 'I4', 'liveness'],
      NO_FEATURES,
    ],
  ];

  it.each(defects)('%s', { timeout: 180_000 }, async (_name, defect, invariants, features) => {
    const violations = await firstCaught({ defect, durationMs: 8000, features });
    expect(violations.map(({ invariant }) => invariant)).toEqual(
      expect.arrayContaining([expect.any(String)]) as unknown,
    );
    expect(violations.some(({ invariant }) => invariants.includes(invariant))).toBe(true);
  });
});
