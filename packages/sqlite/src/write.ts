import { AntiphonError, type WriteOutcome, type WriteRequest } from '@antiphon/core';
import type { CurrentState } from './current-state.js';
import { storeError } from './errors.js';
import { GroupUndone, runGroup, type Ran } from './group.js';
import { Pace } from './pace.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';
import type { SqliteTransaction } from './transaction.js';

/**
 * Runs waiting writes in one database transaction, each as if it were the only one, seals and
 * commits them.
 */
export class GroupWriter {
  constructor(
    private readonly session: Session,
    private readonly state: CurrentState,
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
        if (!(thrown instanceof GroupUndone)) throw storeError(thrown, 'Writing failed');
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

  #group(requests: readonly WriteRequest<SqliteTransaction>[]): Promise<WriteOutcome[]> {
    const { session } = this;
    const { writer } = session;
    return this.state.transaction(session, writer, async (draft) => {
      const pace = Pace.ordinary(writer.surroundings);
      session.verifySchema(writer, draft);
      await session.sealPending(writer, draft, pace);
      const ran = runGroup(session, requests, 'asynchronous');
      return this.#sealAll(ran, draft, pace);
    });
  }

  async #sealAll(ran: readonly Ran[], draft: ReplicaState, pace: Pace): Promise<WriteOutcome[]> {
    const { outbox, sealer } = this.session.sealing(this.session.writer);
    const ends = ran.flatMap((one) => (one.type === 'ran' && one.changed ? [{ end: one.end }] : []));
    let counter = draft.lastCounter;
    if (ends.length > 0) {
      await sealer.seal(0, ends, pace);
      outbox.clear();
    }
    outbox.refuseWrites();
    sealer.finish();
    const origin = draft.identity.replica;
    return ran.map((one): WriteOutcome => {
      if (one.type === 'rejected') return one;
      if (one.type === 'alone') throw new TypeError('Asynchronous writes need not be alone.');
      if (!one.changed) return { type: 'committed', value: one.value };
      counter++;
      return { type: 'committed', id: { origin, counter }, value: one.value };
    });
  }
}
