import { AntiphonError, type LeftOutWrite, type WriteOutcome, type WriteRequest } from '@antiphon/core';
import type { CurrentState } from './current-state.js';
import { storeError } from './errors.js';
import { GroupUndone, runGroup, type Ran } from './group.js';
import { ASYNCHRONOUS_ROOM, GroupTime } from './group-bounds.js';
import { Pace } from './pace.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';
import type { SqliteTransaction } from './transaction.js';

type Outcome = WriteOutcome | LeftOutWrite;

/**
 * Runs waiting writes in one database transaction, each as if it were the only one, seals and
 * commits them.
 */
export class GroupWriter {
  constructor(
    private readonly session: Session,
    private readonly state: CurrentState,
  ) {}

  async write(requests: readonly WriteRequest<SqliteTransaction>[]): Promise<readonly Outcome[]> {
    const outcomes = new Array<Outcome | undefined>(requests.length);
    const time = new GroupTime(this.session.writer.surroundings);
    for (;;) {
      const waiting = [...requests.keys()].filter((index) => outcomes[index] === undefined);
      if (waiting.length === 0) return outcomes as Outcome[];
      try {
        const done = await this.#group(
          waiting.map((index) => requests[index] as WriteRequest<SqliteTransaction>),
          time,
        );
        waiting.forEach((index, at) => (outcomes[index] = done[at]));
        return outcomes as Outcome[];
      } catch (thrown) {
        if (thrown instanceof AntiphonError && thrown.code === 'MESSAGE_TOO_LARGE') {
          await this.#oneByOne(requests, waiting, outcomes, time, thrown);
          return outcomes as Outcome[];
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
    outcomes: (Outcome | undefined)[],
    time: GroupTime,
    error: AntiphonError,
  ): Promise<void> {
    for (const index of waiting) {
      const request = requests[index];
      if (request === undefined) continue;
      if (waiting.length === 1) outcomes[index] = { type: 'rejected', error };
      else if (time.mayBegin(request)) outcomes[index] = (await this.write([request]))[0];
      else outcomes[index] = { type: 'left-out' };
    }
  }

  #group(requests: readonly WriteRequest<SqliteTransaction>[], time: GroupTime): Promise<Outcome[]> {
    const { session } = this;
    const { writer } = session;
    return this.state.transaction(session, writer, async (draft) => {
      const pace = Pace.ordinary(writer.surroundings);
      session.verifySchema(writer, draft);
      await session.sealPending(writer, draft, pace);
      const ran = runGroup(session, requests, { kind: 'asynchronous', time, room: ASYNCHRONOUS_ROOM });
      return this.#sealAll(ran, draft, pace);
    });
  }

  async #sealAll(ran: readonly Ran[], draft: ReplicaState, pace: Pace): Promise<Outcome[]> {
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
    return ran.map((one): Outcome => {
      if (one.type === 'rejected' || one.type === 'left-out') return one;
      if (one.type === 'alone') throw new TypeError('Asynchronous writes need not be alone.');
      if (!one.changed) return { type: 'committed', value: one.value };
      counter++;
      return { type: 'committed', id: { origin, counter }, value: one.value };
    });
  }
}
