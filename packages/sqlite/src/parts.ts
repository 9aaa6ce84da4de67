import { AntiphonError, type PartBatch } from '@antiphon/core';
import type { Connection } from './connection.js';
import type { ReplicaState } from './state.js';

/**
 * Parts of big transactions that wait for their last one. Within one request they stay in memory;
 * what is still incomplete at its end is stored with the position.
 */
export class Parts {
  #fresh = new Map<string, PartBatch[]>();

  constructor(private readonly connection: Connection) {}

  clear(): void {
    // Not clear(): see ApplyQueue.
    if (this.#fresh.size > 0) this.#fresh = new Map();
  }

  /** What is in memory now, for `restore` when the step that comes next is undone. */
  snapshot(): ReadonlyMap<string, readonly PartBatch[]> {
    return new Map([...this.#fresh].map(([origin, parts]) => [origin, [...parts]]));
  }

  restore(snapshot: ReadonlyMap<string, readonly PartBatch[]>): void {
    this.clear();
    for (const [origin, parts] of snapshot) this.#fresh.set(origin, [...parts]);
  }

  keep(state: ReplicaState, batch: PartBatch): void {
    const { origin, firstCounter, time, offset, body } = batch;
    const fresh = this.#fresh.get(origin);
    if (fresh === undefined || offset === 0) this.#fresh.set(origin, [batch]);
    else fresh.push(batch);
    state.partial[origin] = { counter: firstCounter, time, bytes: offset + body.length };
  }

  /**
   * All bytes of the transaction whose last part is `last`, in order. Stored parts are read one at
   * a time.
   */
  *bodies(last: PartBatch): Generator<Uint8Array> {
    const { origin } = last;
    const fresh = (this.#fresh.get(origin) ?? []).filter(({ offset }) => offset < last.offset);
    const stored = fresh[0]?.offset ?? last.offset;
    const read = this.connection.statement(
      'SELECT body FROM _antiphon_parts WHERE origin = ? AND place = ?',
      'value',
    );
    for (let place = 0; place < stored;) {
      const body = read.get(origin, place) as Uint8Array | undefined;
      if (body === undefined) throw lost(last, place);
      yield body;
      place += body.length;
    }
    for (const { body } of fresh) yield body;
    yield last.body;
  }

  /** The transaction was applied. */
  forget(state: ReplicaState, origin: string): void {
    this.#fresh.delete(origin);
    if (!Object.hasOwn(state.partial, origin)) return;
    this.connection.statement('DELETE FROM _antiphon_parts WHERE origin = ?').run(origin);
    state.partial = Object.fromEntries(Object.entries(state.partial).filter(([name]) => name !== origin));
  }

  /** None of them can be completed any more. */
  forgetAll(state: ReplicaState): void {
    this.clear();
    if (Object.keys(state.partial).length === 0) return;
    this.connection.statement('DELETE FROM _antiphon_parts').run();
    state.partial = {};
  }

  store(): void {
    const insert = this.connection.statement('INSERT INTO _antiphon_parts VALUES (?, ?, ?, ?, ?)');
    for (const [origin, parts] of this.#fresh) {
      // What is there is of another transaction, which came whole or was taken back.
      if (parts[0]?.offset === 0)
        this.connection.statement('DELETE FROM _antiphon_parts WHERE origin = ?').run(origin);
      for (const { firstCounter, time, offset, body } of parts)
        insert.run(origin, firstCounter, time, offset, body);
    }
    this.clear();
  }
}

function lost({ origin, firstCounter }: PartBatch, place: number): AntiphonError {
  return new AntiphonError(
    'STORE_CORRUPT',
    `What was kept of transaction ${origin}:${firstCounter} is no longer in the database, from byte ${place} on. Restore the file from a backup.`,
    { context: { origin, counter: firstCounter } },
  );
}
