import type { Member, Members } from '../cluster/members.js';
import { writingPrimary } from '../config/writing-primary.js';
import type { Scope } from '../state/scope.js';

export const PRIMARY_ALARM = 'primary';
/** Said by every follower, since the primary itself cannot. */
const WRITING_ALARM = 'long-write';
/** As long as callers wait by default: some of their writes have failed by then. */
const LONG_WRITE_MS = 10_000;
/** So many beats of it in a row that were not heard: a restart or a pause takes fewer. */
const MISSED_BEATS = 10;
/** When this process looks later than that, it has stood still itself. */
const OWN_BEATS = 3;

type WatchScope = Pick<Scope, 'authority' | 'clock' | 'document' | 'health' | 'id' | 'limits' | 'log'> & {
  readonly members: Pick<Members, 'all' | 'writingMs'>;
};

/**
 * Says that the primary has gone, in a cluster where nobody takes its place by itself
 * (`mode: manual`): somebody else has to notice, and to decide. What this replica did not listen to
 * says nothing: it had no connection, or was stopped. With `mode: automatic`, it says that the
 * primary has not gone, though it answers nobody.
 */
export class PrimaryWatch {
  #listeningSinceMs: number;
  #lookedAtMs: number;

  constructor(private readonly scope: WatchScope) {
    this.#listeningSinceMs = this.#lookedAtMs = scope.clock.monotonicMs();
  }

  /** Once a beat. */
  look(): void {
    const { document } = this.scope;
    if (document.failover?.mode === 'manual') this.#lookAtBeats();
    if (document.failover?.mode === 'automatic') this.#lookAtWrite();
  }

  #lookAtWrite(): void {
    const { authority, health, members } = this.scope;
    const { primary = '' } = authority.current();
    const writingMs = members.writingMs(primary) ?? 0;
    if (writingMs < LONG_WRITE_MS) health.clearAlarm(WRITING_ALARM);
    else health.alarm(WRITING_ALARM, writingPrimary(primary, writingMs));
  }

  #lookAtBeats(): void {
    const { health, clock, limits, log } = this.scope;
    const nowMs = clock.monotonicMs();
    const isLate = nowMs - this.#lookedAtMs > OWN_BEATS * limits.beatMs;
    this.#lookedAtMs = nowMs;
    if (isLate || log.connection !== 'connected') this.#listeningSinceMs = nowMs;
    const primary = this.#primary;
    const silentMs = primary === undefined ? 0 : nowMs - primary.lastSeenMs;
    const patienceMs = MISSED_BEATS * limits.beatMs;
    if (primary === undefined || silentMs < patienceMs) return health.clearAlarm(PRIMARY_ALARM);
    if (nowMs - this.#listeningSinceMs < patienceMs) return;
    // In seconds, so that all who have heard the same say the same.
    const since = new Date(clock.nowMs() - silentMs).toISOString().replace(/\.\d+/, '');
    health.alarm(PRIMARY_ALARM, goneText(primary.record.id, since));
  }

  /** Another one than this replica, and a member. */
  get #primary(): Member | undefined {
    const { authority, members, id } = this.scope;
    const { primary } = authority.current();
    return primary === id ? undefined : members.all.find(({ record }) => record.id === primary);
  }
}

function goneText(primary: string, since: string): string {
  return (
    `The primary ${primary} has not been heard since ${since}, and with \`mode: manual\` nobody takes its place by ` +
    'itself. Start it again, wait where its log says that a write keeps it, or make another replica the primary with ' +
    '`antiphon failover ID`.'
  );
}
