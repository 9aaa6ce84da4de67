import { AntiphonError, type WritingWatch } from '@antiphon/core';
import type { Connection } from './connection.js';
import { RecentMessages } from './recent-messages.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';

/**
 * The state of the database as of its last commit, and the only way to the next one: a transaction
 * works on a draft, stores it, and puts it in the place of the old one when it is committed. One
 * writing method of the store at a time.
 */
export class CurrentState {
  #state: ReplicaState | undefined;
  #recent = new RecentMessages();
  /** From a writing method's beginning to its end; from `prepare` to the end of its group. */
  #isWriting = false;
  /** Told from `claim` to `release`. */
  watch: WritingWatch | undefined;

  constructor(
    /** The store is closed: whatever fails then, fails for that. */
    private readonly closed: () => AntiphonError | undefined,
  ) {}

  get(): ReplicaState {
    if (this.#state === undefined) throw new AntiphonError('INTERNAL', 'The store must be installed first.');
    return this.#state;
  }

  installed(state: ReplicaState): void {
    this.#state = state.copy();
    this.#recent = new RecentMessages();
  }

  /** What was sealed last. */
  get recent(): RecentMessages {
    return this.#recent;
  }

  /** What was sealed is not any more. */
  forgetRecent(): void {
    this.#recent = new RecentMessages();
  }

  get isWriting(): boolean {
    return this.#isWriting;
  }

  claim(): void {
    if (this.#isWriting)
      throw new AntiphonError(
        'INTERNAL',
        'Two writing methods of one store were called at once. Please report it.',
      );
    this.#isWriting = true;
    this.watch?.begins();
  }

  release(): void {
    this.#isWriting = false;
    this.watch?.ends();
  }

  /** A writing method. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.claim();
    try {
      return await work();
    } catch (thrown) {
      // Closed while it gave way: whatever it stumbled over, nothing of it was committed.
      throw this.closed() ?? thrown;
    } finally {
      this.release();
    }
  }

  /** Inside of a writing method: all of it, or nothing when `work` throws. */
  async transaction<T>(
    session: Session,
    connection: Connection,
    work: (draft: ReplicaState) => T | Promise<T>,
  ): Promise<T> {
    const { last } = session.clock;
    try {
      const { draft, result } = await connection.transaction(async () => {
        const draft = this.get().copy();
        const result = await work(draft);
        session.storeState(connection, draft);
        return { draft, result };
      });
      this.committed(draft);
      return result;
    } catch (thrown) {
      // What is sealed next, written before, would else be dated after what is nowhere (decision
      // 0030).
      session.clock.giveBack(last);
      throw thrown;
    }
  }

  /** What `work` would do; nothing of it is kept. */
  async rehearsal<T>(connection: Connection, work: (draft: ReplicaState) => Promise<T>): Promise<T> {
    await connection.begin();
    try {
      return await work(this.get().copy());
    } finally {
      connection.rollback();
    }
  }

  /** At once, or not at all when somebody else is writing. */
  tryTransaction(session: Session): boolean {
    const { writer } = session;
    if (this.#isWriting) return false;
    try {
      if (!writer.tryBegin()) return false;
      const draft = this.get().copy();
      session.storeState(writer, draft);
      writer.commit();
      this.committed(draft);
      return true;
    } catch {
      writer.rollback();
      return false;
    }
  }

  /**
   * What `markPublished` learned while the transaction ran must not be lost with the state it
   * replaces.
   */
  committed(draft: ReplicaState): void {
    const { publishedCounter, position } = this.get();
    draft.published(publishedCounter);
    if (position.generation === draft.position.generation && position.seq > draft.position.seq)
      draft.position = position;
    this.#state = draft;
    this.#recent.add(draft.newlySealed, draft.publishedCounter);
    draft.newlySealed.clear();
  }
}
