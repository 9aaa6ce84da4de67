import type { ActorRef, Context, MailboxOptions } from '@antiphon/actor';
import type { Timer } from '@antiphon/core';
import { Feed } from '../deliver/feed.js';
import { isHandingOver } from '../failover/begin-hand-over.js';
import { type Claim, Claimant } from '../failover/claimant.js';
import { Elector } from '../failover/elector.js';
import { LeaseKeeper } from '../failover/lease-keeper.js';
import { Relay } from '../publish/relay.js';
import { appendsAlone } from '../state/authority.js';
import type {
  ClaimantProtocol,
  ElectorProtocol,
  FeedProtocol,
  LeaseKeeperProtocol,
  RelayProtocol,
  ReplicaProtocol,
} from '../state/protocols.js';
import type { ReplicaScope } from '../sync/replica-scope.js';

const RELAY_MAILBOX: MailboxOptions<RelayProtocol> = {
  lanes: { results: { weight: 2 }, wakes: {} },
  laneOf: {
    ...{ settled: 'results', resume: 'results', resend: 'results' },
    ...{ wake: 'wakes', flush: 'wakes', barrier: 'wakes' },
  },
};

/** Other programs are told so often in their time that this replica runs. */
const ATTENDED_SHARE = 4;

/**
 * What runs during one mandate, and as it says: the only place that depends on who may write when
 * it starts. Children of the replica actor, which ends them before the next ones begin.
 */
export class Term {
  readonly epoch: number;
  readonly feed: ActorRef<FeedProtocol>;
  #relay: ActorRef<RelayProtocol> | undefined;
  #claimant: ActorRef<ClaimantProtocol> | undefined;
  readonly #watch: ActorRef<LeaseKeeperProtocol> | ActorRef<ElectorProtocol> | undefined;
  readonly #pollTimer: Timer | undefined;
  readonly #attending: Timer | undefined;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly context: Context<ReplicaProtocol>,
  ) {
    const { authority, id, sync, limits, document, store } = scope;
    const { epoch, primary, mayWrite } = authority.current();
    this.epoch = epoch;
    const feed = context.spawn('feed', () => new Feed(scope, context.self));
    this.feed = feed;
    // Its own one is not enough where its numbers would go on behind a hole.
    const isElected = mayWrite && store.state().writes !== 'refuse';
    if (authority.byTerm && primary === id && !isElected) this.#startClaiming({ why: 'restart' });
    // What this one has sealed and is not in the log waits for its epoch.
    if (!authority.byTerm || mayWrite)
      this.#relay = context.spawn('relay', () => new Relay(scope, feed), { mailbox: RELAY_MAILBOX });
    scope.barrier.inChainOf(appendsAlone(scope) ? this.#relay : undefined);
    this.#watch = this.#watchPrimary();
    // Where other programs are refused, there is nothing of theirs to look for.
    const othersWrite = sync?.settings.foreignWrites !== 'refuse';
    if (!mayWrite || !othersWrite) return;
    this.#pollTimer = context.every(limits.pollMs, 'poll', undefined);
    const { foreignLeaseMs = 0 } = document.failover ?? {};
    if (foreignLeaseMs > 0) this.#attending = this.#attend(foreignLeaseMs / ATTENDED_SHARE);
  }

  /** At times, and as soon as it has its lease back. */
  #attend(pauseMs: number): Timer {
    const { context, scope } = this;
    const timer = context.every(Math.max(1, pauseMs), 'attend', undefined);
    let { isValid } = scope.held;
    const stopListening = scope.held.onChange(() => {
      const wasValid = isValid;
      ({ isValid } = scope.held);
      if (isValid && !wasValid) context.self.tell('attend');
    });
    return {
      cancel: () => {
        timer.cancel();
        stopListening();
      },
    };
  }

  get relay(): ActorRef<RelayProtocol> | undefined {
    return this.#relay;
  }

  /** In a cluster that elects its primary: it keeps a lease, and the others watch it. */
  #watchPrimary(): ActorRef<LeaseKeeperProtocol> | ActorRef<ElectorProtocol> | undefined {
    const { scope, context } = this;
    const { authority, id, lease, document } = scope;
    if (document.failover?.mode !== 'automatic' || lease === undefined) return undefined;
    const { primary, mayWrite } = authority.current();
    if (mayWrite) return context.spawn('lease', () => new LeaseKeeper(scope, lease));
    if (primary === id) return undefined;
    return context.spawn('elector', () => new Elector(scope, context.self, lease));
  }

  #startClaiming(claim: Claim): void {
    this.#claimant = this.context.spawn('claimant', () => new Claimant(this.scope, claim));
  }

  async claim(claim: Claim): Promise<void> {
    await this.#claimant?.stop();
    this.#startClaiming(claim);
  }

  /**
   * A hand-over of which nobody waits for the end any more would leave a primary that takes no
   * writes and renews its lease, so that nobody else takes its place.
   */
  takeBack(): void {
    const { scope } = this;
    if (isHandingOver(scope) && this.#claimant === undefined && !scope.closing.aborted)
      this.#startClaiming({ why: 'restart' });
  }

  /** Nothing more of this database goes into the log, nor is looked for. */
  async stopSending(): Promise<void> {
    this.#pollTimer?.cancel();
    this.#attending?.cancel();
    this.scope.barrier.inChainOf(undefined);
    await this.#relay?.stop();
    this.#relay = undefined;
  }

  async end(): Promise<void> {
    const children = [this.feed, this.#claimant, this.#watch];
    await Promise.all([this.stopSending(), ...children.map(async (child) => child?.stop())]);
  }
}
