import { AntiphonError, type PartBatch } from '@antiphon/core';
import type { Connection } from './connection.js';
import type { ReplicaState } from './state.js';

/**
 * Parts of big transactions that wait for their last one. Within one request they stay in memory; what is still incomplete at its
 * end is stored with the position.
 */
export class Parts {
  readonly #fresh = new Map<string, PartBatch[]>();

  constructor(private readonly connection: Connection) {}

  clear(): void {
    this.#fresh.clear();
  }

  /** What is in memory now, for `restore` when the step that comes next is undone. */
  snapshot(): ReadonlyMap<string, readonly PartBatch[]> {
    return new Map([...this.#fresh].map(([origin, parts]) => [origin, [...parts]]));
  }

  restore(snapshot: ReadonlyMap<string, readonly PartBatch[]>): void {
    this.#fresh.clear();
    for (const [origin, parts] of snapshot) this.#fresh.set(origin, [...parts]);
  }

  keep(state: ReplicaState, batch: PartBatch): void {
    const fresh = this.#fresh.get(batch.origin);
    if (fresh === undefined || batch.part === 0) this.#fresh.set(batch.origin, [batch]);
    else fresh.push(batch);
    state.partial[batch.origin] = { counter: batch.firstCounter, nextPart: batch.part + 1 };
  }

  /** Everything of the transaction whose last part is `last`, in order. Stored parts are read one at a time. */
  *bodies(last: PartBatch): Generator<Uint8Array> {
    const fresh = (this.#fresh.get(last.origin) ?? []).filter(({ part }) => part < last.part);
    const stored = last.part - fresh.length;
    const read = this.connection.statement(
      'SELECT body FROM _antiphon_parts WHERE origin = ? AND counter = ? AND part = ?',
      'value',
    );
    for (let part = 0; part < stored; part++) {
      const body = read.get(last.origin, last.firstCounter, part) as Uint8Array | undefined;
      if (body === undefined) throw lost(last, part);
      yield body;
    }
    for (const { body } of fresh) yield body;
    yield last.body;
  }

  /** The transaction was applied. */
  forget(state: ReplicaState, origin: string, counter: number): void {
    this.#fresh.delete(origin);
    if (!Object.hasOwn(state.partial, origin)) return;
    this.connection
      .statement('DELETE FROM _antiphon_parts WHERE origin = ? AND counter = ?')
      .run(origin, counter);
    state.partial = Object.fromEntries(Object.entries(state.partial).filter(([name]) => name !== origin));
  }

  store(): void {
    const insert = this.connection.statement('INSERT OR REPLACE INTO _antiphon_parts VALUES (?, ?, ?, ?)');
    for (const parts of this.#fresh.values()) {
      for (const { origin, firstCounter, part, body } of parts) insert.run(origin, firstCounter, part, body);
    }
    this.#fresh.clear();
  }
}

function lost({ origin, firstCounter }: PartBatch, part: number): AntiphonError {
  return new AntiphonError(
    'STORE_FAILED',
    `Part ${part} of transaction ${origin}:${firstCounter} was kept and is not in the database any more. Restore the file from a backup.`,
    { context: { origin, counter: firstCounter } },
  );
}
