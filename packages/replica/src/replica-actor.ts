import type { ActorRef, Behaviour, Context, MailboxOptions, NoReply, Received } from '@antiphon/actor';
import { AntiphonError, type ApplyOutcome, type WriteOutcome } from '@antiphon/core';
import { Feed } from './feed.js';
import { Pulse } from './pulse.js';
import type {
  ApplyMessage,
  PulseProtocol,
  RelayProtocol,
  ReplicaProtocol,
  WriteMessage,
} from './protocols.js';
import { Relay } from './relay.js';
import type { Scope } from './scope.js';

const EXPIRY_CHECK_MS = 50;

/** Local writes and remote changes each get their share of the turns; neither starves the other. */
export function replicaMailbox(waitingWrites: number): MailboxOptions<ReplicaProtocol> {
  return {
    lanes: {
      write: { weight: 4, capacity: waitingWrites },
      apply: { weight: 2, capacity: 16 },
      control: { weight: 1, capacity: 256 },
    },
    laneOf: {
      write: 'write',
      apply: 'apply',
      poll: 'control',
      seal: 'control',
      prune: 'control',
      hold: 'control',
      release: 'control',
      expire: 'control',
    },
  };
}

const RELAY_MAILBOX: MailboxOptions<RelayProtocol> = {
  lanes: { results: { weight: 2 }, wakes: {} },
  laneOf: { settled: 'results', resume: 'results', wake: 'wakes', flush: 'wakes' },
};

/** Owns the store: everything that uses the database's write connection happens in a turn of this actor, so it needs no locks. */
export class ReplicaActor implements Behaviour<ReplicaProtocol> {
  readonly receive = {
    write: (
      _: WriteMessage,
      context: Context<ReplicaProtocol>,
      message: Received<ReplicaProtocol, 'write'>,
    ) => this.#write(context, message),
    apply: (request: ApplyMessage): Promise<ApplyOutcome> => this.#apply(request),
    poll: (): Promise<void> | void => {
      if (this.#polling && this.scope.store.hasUnsealed()) return this.#poll();
    },
    seal: async (): Promise<number> => {
      const sealed = await this.#seal();
      this.#relay?.tell('flush');
      return sealed;
    },
    prune: (counter: number): Promise<void> => this.scope.store.prune(counter),
    hold: (holdMs: number): void => {
      this.#heldUntilMs = this.scope.clock.monotonicMs() + holdMs;
    },
    release: (): Promise<void> => {
      this.#heldUntilMs = 0;
      return this.#expire();
    },
    expire: (): Promise<void> | void => {
      if (this.#held.length > 0) return this.#expire();
    },
  };
  #relay: ActorRef<RelayProtocol> | undefined;
  #polling = true;
  /** Monotonic; while it lies ahead, library writes wait in `#held`. */
  #heldUntilMs = 0;
  #held: Received<ReplicaProtocol, 'write'>[] = [];

  constructor(private readonly scope: Scope) {}

  started(context: Context<ReplicaProtocol>): void {
    const { scope } = this;
    this.#relay = context.spawn('relay', () => new Relay(scope), { mailbox: RELAY_MAILBOX });
    const feedUntil = this.#feedUntil();
    if (feedUntil > 0) context.spawn('feed', () => new Feed(scope, context.self, feedUntil));
    context.spawn<PulseProtocol>('pulse', () => new Pulse(scope, context.self));
    if (scope.writable) context.every(scope.limits.pollMs, 'poll', undefined);
    context.every(EXPIRY_CHECK_MS, 'expire', undefined);
  }

  /** A primary writes the log itself; it reads no more of it than its own past. */
  #feedUntil(): number {
    const { role, ownPastUpTo, progress, logEnd } = this.scope;
    if (role !== 'primary') return Infinity;
    return progress.ownCounter < ownPastUpTo ? logEnd.seq : 0;
  }

  /** Group commit: all writes that wait go into one transaction of the database. */
  #write(
    context: Context<ReplicaProtocol>,
    message: Received<ReplicaProtocol, 'write'>,
  ): Promise<NoReply> | NoReply {
    const { limits, clock } = this.scope;
    if (this.#heldUntilMs > clock.monotonicMs()) {
      this.#held.push(message);
      return message.defer();
    }
    const group = [...this.#held.splice(0), message, ...context.takeWaiting('write', limits.writeGroup - 1)];
    return this.#commit(group);
  }

  async #commit(group: readonly Received<ReplicaProtocol, 'write'>[]): Promise<NoReply> {
    const { store, condition, progress } = this.scope;
    let outcomes: readonly WriteOutcome[];
    try {
      outcomes = await store.write(group.map(({ request }) => ({ run: (tx: unknown) => request.run(tx) })));
    } catch (thrown) {
      if (!(thrown instanceof AntiphonError)) throw thrown;
      return group.map((message) => message.reject(thrown)).at(-1) as NoReply;
    }
    // Before the answers: the followers get it while the caller is still being told.
    this.#relay?.tell('wake');
    condition.totals.writes += group.length;
    let answered: NoReply | undefined;
    for (const [index, message] of group.entries()) {
      const outcome = outcomes[index];
      answered =
        outcome === undefined
          ? message.reject(
              new AntiphonError(
                'INTERNAL',
                'the store answered fewer writes than it was given; please report it',
              ),
            )
          : message.reply(outcome);
    }
    progress.moved();
    return answered as NoReply;
  }

  async #apply(request: ApplyMessage): Promise<ApplyOutcome> {
    const { store, document, limits, clock, condition } = this.scope;
    const before = store.state().lastCounter;
    // In the turn of the commit that stores both: the position and what of ours the log holds up to there.
    store.markPublished(request.published);
    const outcome = await store.apply({
      steps: request.steps,
      position: { generation: document.generation, seq: request.seq },
      yield: () => clock.yield(),
      sliceMs: limits.applySliceMs,
    });
    condition.totals.appliedTransactions += outcome.transactions;
    condition.totals.appliedRows += outcome.rows;
    if (store.state().lastCounter > before) this.#relay?.tell('wake');
    return outcome;
  }

  async #poll(): Promise<void> {
    try {
      await this.#seal();
    } catch (error) {
      // Another program holds the lock, or the disk is full: the next poll tries again, and nothing is lost meanwhile.
      if (!(error instanceof AntiphonError)) throw error;
      if (error.retriable) this.scope.condition.counts.storeRetries++;
      else this.#pollFailed(error);
    }
  }

  /** The captured writes stay where they are; asking every few milliseconds would not change that. */
  #pollFailed(error: AntiphonError): void {
    this.#polling = false;
    this.scope.condition.stall(error);
  }

  async #seal(): Promise<number> {
    const sealed = await this.scope.store.seal();
    if (sealed > 0) {
      this.#relay?.tell('wake');
      this.scope.progress.moved();
    }
    return sealed;
  }

  /** A hold ends by itself: whoever asked for it may be gone. */
  async #expire(): Promise<void> {
    while (this.#held.length > 0 && this.#heldUntilMs <= this.scope.clock.monotonicMs()) {
      await this.#commit(this.#held.splice(0, this.scope.limits.writeGroup));
    }
  }
}
