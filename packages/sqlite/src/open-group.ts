import {
  AntiphonError,
  movedTo,
  type Position,
  type PreparedGroup,
  type PreparedWrite,
} from '@antiphon/core';
import { storeClosed, storeError } from './errors.js';
import type { SealedGroup } from './group-seal.js';
import type { Preparation } from './prepare.js';
import { storeSealed } from './sealed-messages.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';

/** What the store does around the end of a group. */
export interface GroupOwner {
  committed(state: ReplicaState): void;
  /** Work that a commit leaves behind, still with nobody else writing. Does not throw. */
  settle(): Promise<void>;
  /** Others may write again. */
  released(): void;
}

/** A prepared group whose transaction is open on the writing connection. */
export class OpenGroup implements PreparedGroup {
  readonly writes: readonly PreparedWrite[];
  readonly message?: NonNullable<PreparedGroup['message']>;
  #over: 'committed' | 'rolled back' | 'closed' | undefined;

  constructor(
    private readonly session: Session,
    private readonly preparation: Preparation,
    private readonly owner: GroupOwner,
  ) {
    this.writes = preparation.writes;
    const { sealed } = preparation;
    if (sealed === undefined) return;
    const { firstCounter, lastCounter, data } = sealed;
    this.message = { firstCounter, lastCounter, data };
  }

  async commit(position?: Position, committed?: () => void): Promise<void> {
    if (this.#over === 'closed') throw storeClosed();
    if (this.#over !== undefined)
      throw new AntiphonError(
        'INTERNAL',
        `A prepared group was already ${this.#over} and cannot be committed. Please report it.`,
      );
    this.#over = 'committed';
    try {
      this.#commit(position);
      committed?.();
      await this.owner.settle();
    } finally {
      this.owner.released();
    }
  }

  #commit(position: Position | undefined): void {
    const { writer } = this.session;
    const { sealed, draft } = this.preparation;
    try {
      if (sealed !== undefined) this.#keep(sealed, draft, position);
      // Every write may have been rejected: nothing is open then.
      if (writer.inTransaction) writer.commit();
    } catch (thrown) {
      writer.rollback();
      throw storeError(thrown, 'Committing a synchronous group failed');
    }
    this.owner.committed(draft);
  }

  #keep(sealed: SealedGroup, draft: ReplicaState, position: Position | undefined): void {
    const { writer, writerState, outcomes } = this.session;
    if (position === undefined)
      throw new AntiphonError(
        'INTERNAL',
        'A group with a message is committed at its place in the log. Please report it.',
      );
    const { token, firstCounter, lastCounter, data, changes } = sealed;
    storeSealed(writer, draft, { firstCounter, lastCounter, part: 0, last: true, data }, changes);
    draft.position = movedTo(draft.position, position);
    draft.publishedCounter = lastCounter;
    const origin = draft.identity.replica;
    outcomes.keep(draft, { seq: position.seq, origin, firstCounter, lastCounter, token, rejected: [] });
    writerState.update(draft);
  }

  rollback(): Promise<void> {
    this.#end('rolled back');
    return Promise.resolve();
  }

  /** The store is being closed under the group. */
  abandon(): void {
    this.#end('closed');
  }

  #end(how: 'rolled back' | 'closed'): void {
    if (this.#over !== undefined) return;
    this.#over = how;
    try {
      this.session.writer.rollback();
    } catch (thrown) {
      throw storeError(thrown, 'Rolling back a synchronous group failed');
    } finally {
      this.owner.released();
    }
  }
}
