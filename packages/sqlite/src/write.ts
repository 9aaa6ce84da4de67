import { AntiphonError, type WriteOutcome, type WriteRequest } from '@antiphon/core';
import { storeError } from './errors.js';
import { Pace } from './pace.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';
import type { SqliteTransaction } from './transaction.js';

/** A write of the group, after its function has run. */
type Ran =
  | {
      readonly type: 'ran';
      readonly value: unknown;
      /** The number of its last outbox row. */ readonly end: number;
      readonly changed: boolean;
    }
  | { readonly type: 'rejected'; readonly error: AntiphonError };

/** The whole database transaction is gone with one write: the others must run again without it. */
class GroupUndone extends Error {
  constructor(
    readonly index: number,
    readonly error: AntiphonError,
  ) {
    super('the database rolled the whole group back');
  }
}

/** Runs waiting writes in one database transaction, each in a savepoint of its own, seals and commits them. */
export class GroupWriter {
  constructor(
    private readonly session: Session,
    private readonly current: () => ReplicaState,
    private readonly committed: (state: ReplicaState) => void,
  ) {}

  async write(requests: readonly WriteRequest<SqliteTransaction>[]): Promise<readonly WriteOutcome[]> {
    const outcomes = new Array<WriteOutcome | undefined>(requests.length);
    for (;;) {
      const waiting = [...requests.keys()].filter((index) => outcomes[index] === undefined);
      if (waiting.length === 0) return outcomes as WriteOutcome[];
      try {
        const done = await this.#group(
          waiting.map((index) => requests[index] as WriteRequest<SqliteTransaction>),
        );
        waiting.forEach((index, at) => (outcomes[index] = done[at]));
        return outcomes as WriteOutcome[];
      } catch (thrown) {
        if (thrown instanceof AntiphonError && thrown.code === 'MESSAGE_TOO_LARGE') {
          await this.#oneByOne(requests, waiting, outcomes, thrown);
          return outcomes as WriteOutcome[];
        }
        if (!(thrown instanceof GroupUndone)) throw storeError(thrown, 'writing failed');
        const index = waiting[thrown.index];
        if (index === undefined) throw thrown.error;
        outcomes[index] = { type: 'rejected', error: thrown.error };
      }
    }
  }

  /** One of them holds a value too big for the log, which shows only when it is sealed. */
  async #oneByOne(
    requests: readonly WriteRequest<SqliteTransaction>[],
    waiting: readonly number[],
    outcomes: (WriteOutcome | undefined)[],
    error: AntiphonError,
  ): Promise<void> {
    for (const index of waiting) {
      const request = requests[index];
      if (request === undefined) continue;
      outcomes[index] = waiting.length === 1 ? { type: 'rejected', error } : (await this.write([request]))[0];
    }
  }

  async #group(requests: readonly WriteRequest<SqliteTransaction>[]): Promise<WriteOutcome[]> {
    const { writer } = this.session;
    await writer.begin();
    try {
      const draft = this.current().copy();
      const pace = Pace.ordinary();
      this.session.verifySchema(writer, draft);
      await this.session.sealPending(writer, draft, pace);
      const ran = this.#runAll(requests);
      const outcomes = await this.#sealAll(ran, draft, pace);
      this.session.writerState.update(draft);
      writer.commit();
      this.committed(draft);
      return outcomes;
    } catch (thrown) {
      writer.rollback();
      throw thrown;
    }
  }

  #runAll(requests: readonly WriteRequest<SqliteTransaction>[]): Ran[] {
    const alone = requests.length === 1;
    let end = 0;
    this.session.users.begin();
    try {
      return requests.map((request, index) => {
        const ran = this.#run(request, index, end, alone);
        if (ran.type === 'ran') end = ran.end;
        return ran;
      });
    } finally {
      this.session.users.end();
    }
  }

  #run(request: WriteRequest<SqliteTransaction>, index: number, from: number, alone: boolean): Ran {
    const { writer, users } = this.session;
    const { outbox } = this.session.sealing(writer);
    // A lone write has the whole transaction to itself; it still needs its own mark when it fails after a seal of foreign changes.
    if (!alone) writer.statement('SAVEPOINT _antiphon_write').run();
    try {
      const value = request.run(users);
      if (isPromise(value)) {
        value.then(undefined, () => undefined);
        throw new AntiphonError(
          'BAD_SQL',
          'the function of a write must not be async: the database transaction does not wait. Await before or after it.',
        );
      }
      if (!writer.inTransaction)
        throw new AntiphonError(
          'BAD_SQL',
          'a statement of this write ended the transaction; nothing of it was kept.',
        );
      outbox.resolveSuspects(from);
      const end = outbox.lastSeq();
      if (!alone) writer.statement('RELEASE _antiphon_write').run();
      return { type: 'ran', value, end, changed: end > from };
    } catch (thrown) {
      const error = rejection(thrown);
      if (alone || !writer.inTransaction) throw new GroupUndone(index, error);
      writer.statement('ROLLBACK TO _antiphon_write').run();
      writer.statement('RELEASE _antiphon_write').run();
      return { type: 'rejected', error };
    }
  }

  async #sealAll(ran: readonly Ran[], draft: ReplicaState, pace: Pace): Promise<WriteOutcome[]> {
    const { outbox, sealer } = this.session.sealing(this.session.writer);
    const ends = ran.flatMap((one) => (one.type === 'ran' && one.changed ? [one.end] : []));
    let counter = draft.lastCounter;
    if (ends.length > 0) {
      await sealer.seal(0, ends, pace);
      outbox.clear();
    }
    sealer.finish();
    const origin = draft.identity.replica;
    return ran.map((one): WriteOutcome => {
      if (one.type === 'rejected') return one;
      if (!one.changed) return { type: 'committed', value: one.value };
      counter++;
      return { type: 'committed', id: { origin, counter }, value: one.value };
    });
  }
}

/** What a write's function throws rejects it: nothing of it is kept, and the caller finds its own error in `cause`. */
function rejection(thrown: unknown): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AntiphonError('ABORTED', `the write's own function threw, nothing of it was kept: ${message}`, {
    cause: thrown,
    retriable: false,
  });
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}
