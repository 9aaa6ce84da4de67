import {
  ackSubject,
  ackSubjectPrefix,
  type ClusterDocument,
  EPOCH_ORIGIN,
  isCertified,
  type LogEntry,
  newestEpoch,
  type PreparedWrite,
  type SyncSettings,
} from '@antiphon/core';
import type { Health } from '../state/health.js';
import type { Positions } from '../state/positions.js';
import type { Progress } from '../state/progress.js';
import { tokensOf } from '../config/ids.js';
import type { Settings } from '../config/options.js';
import type { WriteResult } from '../state/write-result.js';
import { sessionPosition } from '../state/session.js';
import { Acker, inSyncNeeded, encodeAck } from './acker.js';
import { durableOf } from './durable.js';
import { Certification } from '../state/certification.js';
import { IN_SYNC_ORIGIN } from './in-sync-record.js';
import { InTheWay } from './in-the-way.js';
import { InSyncSet } from './in-sync-set.js';

type SyncScope = Settings & { readonly health: Health };

/** What the actors of a synchronous replica share. Outlives their restarts. */
export class Sync {
  readonly inSync: InSyncSet;
  readonly acker: Acker;
  readonly inTheWay: InTheWay;
  /** Only where several write. */
  readonly certification: Certification | undefined;
  readonly ackSubject: string;
  readonly newToken: () => string;
  readonly counts = {
    certificationRejected: 0,
    conflictErrors: 0,
    unknown: 0,
    degraded: 0,
  };
  /** How the writes of this replica stand; the committer says. */
  standing: () => { readonly waiting: number; readonly inFlight: number; readonly idle: boolean } = () => ({
    waiting: 0,
    inFlight: 0,
    idle: true,
  });
  /** Own entries up to this one were seen, or are to be. */
  onOwnEntry: (seq: number) => void = () => undefined;
  readonly #ackPrefix: string;

  constructor(
    readonly settings: SyncSettings,
    document: Pick<ClusterDocument, 'topology' | 'update'>,
    private readonly scope: SyncScope,
    private readonly place: { readonly positions: Positions; readonly progress: Progress },
  ) {
    const { cluster, id, instance, bus, clock } = scope;
    const { positions, progress } = place;
    this.ackSubject = ackSubject(cluster, id, instance);
    this.newToken = tokensOf(instance);
    this.#ackPrefix = ackSubjectPrefix(cluster);
    this.inSync = new InSyncSet(scope);
    this.inTheWay = new InTheWay(clock);
    this.certification = isCertified(document) ? new Certification() : undefined;
    this.acker = new Acker({
      ...{ cluster, id, bus, clock, inSync: this.inSync, subject: this.ackSubject },
      minInSync: settings.minInSync,
      degrades: settings.onShortfall === 'degrade',
      knowsUpTo: (seq) => positions.observed >= seq - 1,
      epochSeq: () => newestEpoch(scope.store.state()).seq,
    });
    this.inSync.onChange(() => progress.moved());
  }

  /** How many must be in sync for writes with the default `acks`. */
  get needed(): number {
    const { acks, minInSync } = this.settings;
    return inSyncNeeded(acks, minInSync, this.inSync.known.length);
  }

  get degraded(): boolean {
    return this.settings.onShortfall === 'degrade' && this.inSync.members.length < this.needed;
  }

  /** Every entry that the feed reads, in log order, before anything is decided about it. */
  observe(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      this.place.positions.observe(entry.seq);
      if (entry.origin === IN_SYNC_ORIGIN) this.inSync.observe(entry);
      else if (entry.origin === EPOCH_ORIGIN) this.inSync.observeEpoch(entry);
      else if (entry.origin === this.scope.id) this.onOwnEntry(entry.seq);
    }
    this.acker.check();
  }

  /** Committed in place: the entry right after those that were seen. */
  committedInPlace(seq: number): void {
    const { positions } = this.place;
    if (seq === positions.observed + 1) positions.observe(seq);
    positions.commit(seq);
  }

  /** Applied and on the disk: whoever waits for that is told. */
  applied(replies: ReadonlySet<string>): void {
    if (replies.size === 0) return;
    const { id, bus } = this.scope;
    for (const reply of replies) {
      // Only subjects made for it: a message must not make replicas publish anywhere.
      if (!reply.startsWith(this.#ackPrefix)) continue;
      const [origin = ''] = reply.slice(this.#ackPrefix.length).split('.');
      bus.publish(reply, encodeAck(id, durableOf(this.scope, this.place.positions, origin)));
    }
  }

  result(ran: Extract<PreparedWrite, { type: 'ran' }>, seq?: number): WriteResult<unknown> {
    const { store } = this.scope;
    const { generation } = store.state().position;
    const position = sessionPosition(generation, seq ?? this.place.positions.applied, ran.id);
    return { outcome: 'committed', ...(ran.id && { id: ran.id }), position, value: ran.value };
  }
}
