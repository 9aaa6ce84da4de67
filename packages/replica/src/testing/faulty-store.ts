import type { Store } from '@antiphon/core';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { changed } from './changed.js';

type SqliteStore = Store<SqliteTransaction>;

/** A real store, and what the machine or a defect does to it. */
export interface FaultyStore {
  readonly store: SqliteStore;
  /** Called before each write and apply; throw to fail it. */
  fault: (what: 'write' | 'apply') => void;
}

/**
 * For faults that a test cannot make on a real disk: a full one, a corrupt one, a defect of the
 * code.
 */
export function faultyStore(real: SqliteStore): FaultyStore {
  const write: SqliteStore['write'] = async (requests) => {
    faulty.fault('write');
    return real.write(requests);
  };
  const apply: SqliteStore['apply'] = async (request) => {
    faulty.fault('apply');
    return real.apply(request);
  };
  const faulty: FaultyStore = { store: changed(real, { write, apply }), fault: () => undefined };
  return faulty;
}
