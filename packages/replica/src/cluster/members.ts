import {
  type Beat,
  type Clock,
  counterOf,
  findReadableMember,
  isIdentifier,
  type LeaseRecord,
  listRecords,
  type MemberRecord,
  type Registry,
  sleep,
  type StoreState,
  type VectorClock,
} from '@antiphon/core';

/** More unknown origins than this at once are looked up with one list of all members. */
const SINGLE_LOOKUPS = 4;
/** A cluster of more members is beyond what beats are made for; further ones are not shown. */
const MAX_MEMBERS = 1024;
/** Two beats, unless they were set apart further. */
const LISTEN_MS = 2000;

export interface Member {
  readonly record: MemberRecord;
  /** Monotonic; the start of this replica when it was never heard. */
  readonly lastSeenMs: number;
  readonly beat?: Beat;
}

/** Who belongs to the cluster, and what was last heard from them. */
export class Members {
  readonly #members = new Map<string, Member>();
  /** Removed from the cluster: they count for nothing, but what they wrote is genuine. */
  readonly #former = new Map<string, MemberRecord>();
  #listening: Promise<void> | undefined;
  /** Who holds the lease, while a write keeps it from saying anything else. Monotonic times. */
  #writing: { readonly id: string; readonly sinceMs: number; readonly untilMs: number } | undefined;

  constructor(
    private readonly registry: Registry,
    private readonly clock: Clock,
  ) {}

  get all(): readonly Member[] {
    return [...this.#members.values()];
  }

  /** Is a member, or was one: what the log has of it is applied. */
  has(id: string): boolean {
    return this.#members.has(id) || this.#former.has(id);
  }

  /** Was removed, and has not come back. */
  isFormer(id: string): boolean {
    return this.#former.has(id);
  }

  /** Everyone who ever was a member, as far as it was seen. */
  get known(): readonly MemberRecord[] {
    return [...this.all.map(({ record }) => record), ...this.#former.values()];
  }

  /**
   * Some member has applied something of it: it was a member once, whatever became of its record.
   */
  isVouchedFor(origin: string): boolean {
    return this.all.some(({ beat }) => counterIn(beat?.vector, origin) > 0);
  }

  /** What the registry has now. Throws LOG_UNAVAILABLE. */
  async refresh(): Promise<readonly MemberRecord[]> {
    const records = await listRecords(this.registry);
    for (const record of records) this.#add(record);
    return records;
  }

  /**
   * Makes sure that these origins are known if they are members. A record is written before its
   * replica's first message, and the messages are here already, so a record that is missing now
   * will not be the excuse of any of them: the verdict is the same on every replica. For the same
   * reason absence is never remembered: the id may join before its next message. Records can be
   * lost: the first time that there is none, the other members are listened to, which say whom they
   * know. Throws LOG_UNAVAILABLE.
   */
  async lookUp(origins: Iterable<string>): Promise<void> {
    const unknown = [...new Set(origins)].filter((origin) => !this.has(origin) && isIdentifier(origin));
    if (unknown.length > SINGLE_LOOKUPS) await this.refresh();
    else
      for (const origin of unknown) {
        const record = await findReadableMember(this.registry, origin);
        if (record !== undefined) this.#add(record);
      }
    if (unknown.every((origin) => this.has(origin) || this.isVouchedFor(origin))) return;
    this.#listening ??= sleep(this.clock, LISTEN_MS);
    await this.#listening;
  }

  heard(beat: Beat): void {
    const member = this.#members.get(beat.id);
    if (member === undefined) return;
    this.#members.set(beat.id, { record: member.record, lastSeenMs: this.clock.monotonicMs(), beat });
  }

  /** As its thread says that renews the lease in its place: beats come from another one. */
  renewed({ holder: id, leaseMs, writingMs }: LeaseRecord): void {
    const nowMs = this.clock.monotonicMs();
    this.#writing =
      writingMs === undefined ? undefined : { id, sinceMs: nowMs - writingMs, untilMs: nowMs + leaseMs };
  }

  /** For how long it has been inside of a write; undefined: it is in none that lasts. */
  writingMs(id: string | undefined): number | undefined {
    const nowMs = this.clock.monotonicMs();
    const { id: holder, sinceMs = 0, untilMs = 0 } = this.#writing ?? {};
    return holder !== undefined && holder === id && nowMs < untilMs ? Math.round(nowMs - sinceMs) : undefined;
  }

  /**
   * Up to which counter every member other than `id` has applied its transactions; members silent
   * for too long don't count.
   */
  appliedFloor(id: string, silenceLimitMs: number): number {
    const nowMs = this.clock.monotonicMs();
    let floor = Infinity;
    for (const member of this.#members.values()) {
      if (member.record.id === id || nowMs - member.lastSeenMs > silenceLimitMs) continue;
      floor = Math.min(floor, counterIn(member.beat?.vector, id));
    }
    return floor;
  }

  #add(record: MemberRecord): void {
    const { id, removedAtMs } = record;
    if (removedAtMs !== undefined) {
      this.#members.delete(id);
      if (this.#former.size < MAX_MEMBERS || this.#former.has(id)) this.#former.set(id, record);
      return;
    }
    this.#former.delete(id);
    const known = this.#members.get(id);
    if (known !== undefined) this.#members.set(id, { ...known, record });
    else if (this.#members.size < MAX_MEMBERS)
      this.#members.set(id, { record, lastSeenMs: this.clock.monotonicMs() });
  }
}

interface MembershipScope {
  readonly members: Members;
  readonly sync: { readonly inSync: { readonly known: readonly string[] } } | undefined;
}

/**
 * Who has written, here or as others say, or was in sync once is a member, also when its record was
 * lost: every replica must decide alike.
 */
export function isKnownMember(
  { members, sync }: MembershipScope,
  origin: string,
  { vector }: Pick<StoreState, 'vector'>,
): boolean {
  return (
    members.has(origin) ||
    counterOf(vector, origin) > 0 ||
    sync?.inSync.known.includes(origin) === true ||
    members.isVouchedFor(origin)
  );
}

function counterIn(vector: VectorClock | undefined, origin: string): number {
  return vector !== undefined && Object.hasOwn(vector, origin) ? (vector[origin] ?? 0) : 0;
}
