import {
  AntiphonError,
  type AppendResult,
  type Clock,
  decodeControl,
  encodeControl,
  EpochFold,
  isRecord,
  type Log,
  type LogEntry,
  newestEpoch,
  type PassedEpoch,
  type Registry,
  sentence,
} from '@antiphon/core';
import type { Logger } from '../config/logger.js';
import {
  decodeInSyncRecord,
  encodeInSyncRecord,
  IN_SYNC_ORIGIN,
  type InSyncRecord,
} from './in-sync-record.js';

export const IN_SYNC_KEY = 'in-sync';
const MAX_ATTEMPTS = 4;

interface Deps {
  readonly id: string;
  readonly instance: string;
  readonly log: Log;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a change of the set is about. */
interface Sets {
  readonly members: readonly string[];
  readonly known: readonly string[];
}

/** Who left with the record of an epoch. */
interface Left {
  readonly seq: number;
  readonly leaves: readonly string[];
}

/**
 * The members that are in step, as the log says: a change is an entry of the log, appended only if
 * no other change came before it (compare-and-set on the subject's last sequence). So every write
 * has its place before or after each change, and a writer that knows the log up to its own entry
 * knows the set that the entry was written under. The record of an epoch may take members out of
 * it as well, until the next change.
 */
export class InSyncSet {
  #recordSeq = 0;
  #record: InSyncRecord | undefined;
  #members: readonly string[] = [];
  /** Entries are observed before they are applied: which records are valid is found out here. */
  #epochs: EpochFold | undefined;
  /** Behind the record, in the order of the log. */
  #left: readonly Left[] = [];
  #removal: InSyncRecord | undefined;
  #proposing = false;
  #proposals = 0;
  readonly #listeners = new Set<() => void>();

  constructor(private readonly deps: Deps) {}

  /** Entry of the log that says so; 0 before there is one. */
  get seq(): number {
    return Math.max(this.#recordSeq, this.#left.at(-1)?.seq ?? 0);
  }

  get members(): readonly string[] {
    return this.#members;
  }

  /**
   * Everyone who ever was in sync and was not removed since, ordered with the writes like the set
   * itself.
   */
  get known(): readonly string[] {
    return this.#record?.known ?? [];
  }

  has(id: string): boolean {
    return this.members.includes(id);
  }

  /**
   * The record that removed this replica from the cluster since it started. It does not come back
   * without a new start.
   */
  get removal(): InSyncRecord | undefined {
    return this.#removal;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Every entry of the log with this origin, as it is read. */
  observe({ seq, data }: Pick<LogEntry, 'seq' | 'data'>): void {
    if (seq <= this.#recordSeq) return;
    const record = decodeInSyncRecord(data);
    this.#recordSeq = seq;
    if (record === undefined) return;
    const { id } = this.deps;
    if (this.known.includes(id) && !record.known.includes(id)) this.#removal = record;
    this.#record = record;
    this.#changed();
  }

  /** Before any entry is observed: the epochs that the database has passed. */
  begin(epochs: readonly PassedEpoch[]): void {
    this.#epochs = new EpochFold(newestEpoch({ epochs }));
    this.#left = epochs.map(({ seq, began }) => ({ seq, leaves: began?.leaves ?? [] }));
    this.#changed();
  }

  /** Every record of an epoch, as it is read. One that is not valid takes nobody out. */
  observeEpoch(entry: LogEntry): void {
    const record = this.#epochs?.take(entry);
    if (record === undefined || record.leaves.length === 0) return;
    this.#left = [...this.#left, { seq: entry.seq, leaves: record.leaves }];
    this.#changed();
  }

  #changed(): void {
    this.#left = this.#left.filter(({ seq, leaves }) => seq > this.#recordSeq && leaves.length > 0);
    this.#members = this.#left.reduce(without, this.#record?.members ?? []);
    for (const listener of [...this.#listeners]) listener();
  }

  /** The newest record, asked freshly. Throws LOG_UNAVAILABLE. */
  async load(signal?: AbortSignal): Promise<void> {
    const entry = await this.deps.log.lastOf(IN_SYNC_ORIGIN, signal);
    if (entry !== undefined) this.observe(entry);
  }

  /**
   * Appends the set that `change` makes of the present one, unless it is the same. One at a time;
   * false when it was not done, for any reason: whoever still wants it asks again.
   */
  propose(change: (members: readonly string[]) => readonly string[], why: string): Promise<boolean> {
    return this.#change(({ members, known }) => {
      const changed = change(members);
      return { members: changed, known: [...known, ...changed] };
    }, why);
  }

  /**
   * A member that is gone for good: no majority counts it from here on. As `propose`; false as well
   * when nobody would be left.
   */
  remove(id: string, why: string): Promise<boolean> {
    const others = (ids: readonly string[]): readonly string[] => ids.filter((other) => other !== id);
    return this.#change(({ members, known }) => ({ members: others(members), known: others(known) }), why);
  }

  async #change(change: (sets: Sets) => Sets, why: string): Promise<boolean> {
    if (this.#proposing) return false;
    this.#proposing = true;
    try {
      await this.load();
      for (let attempt = 0; attempt < MAX_ATTEMPTS && this.#removal === undefined; attempt++) {
        const { members, known } = change(this);
        const sets = { members: sorted(members), known: sorted(known) };
        if (sets.members.length === 0) return false;
        if (isSame(sets, this)) return true;
        if (await this.#append(sets, why)) return true;
        await this.load();
      }
      return false;
    } catch (error) {
      if (error instanceof AntiphonError && error.retriable) return false;
      throw error;
    } finally {
      this.#proposing = false;
    }
  }

  async #append({ members, known }: Sets, why: string): Promise<boolean> {
    const { id, instance, log, clock, logger } = this.deps;
    const data = encodeInSyncRecord({ members, known, by: id, why, atMs: clock.nowMs() });
    const request = {
      origin: IN_SYNC_ORIGIN,
      id: `insync-${id}-${instance}${++this.#proposals}`,
      data,
      expectedLastSeqOfOrigin: this.#recordSeq,
    };
    const result = await new Promise<AppendResult>((settled) => log.append(request, settled));
    if (result.type !== 'stored') return false;
    logger.info({ members, seq: result.seq }, `In sync are now ${members.join(', ')}: ${sentence(why)}`);
    this.observe({ seq: result.seq, data });
    return true;
  }

  /**
   * The registry shows it to people and tools; the log decides. A newer one is never overwritten.
   */
  async show(degraded: boolean): Promise<void> {
    const { registry } = this.deps;
    if (this.#record === undefined) return;
    const { seq, members } = this;
    const value = encodeControl({ ...this.#record, seq, degraded, members });
    const known = await registry.get(IN_SYNC_KEY);
    if (known === undefined) return void (await registry.create(IN_SYNC_KEY, value));
    if (shownSeq(known.value) > seq) return;
    await registry.update(IN_SYNC_KEY, value, known.revision);
  }
}

/** Of what the registry shows; what is no record of a set is overwritten. */
function shownSeq(value: Uint8Array): number {
  try {
    const shown = decodeControl(value);
    return isRecord(shown) ? Number(shown['seq']) : 0;
  } catch {
    return 0;
  }
}

/** A set of nobody would take no writes at all: then it stays as it is. */
function without(members: readonly string[], { leaves }: Left): readonly string[] {
  const rest = members.filter((member) => !leaves.includes(member));
  return rest.length > 0 ? rest : members;
}

function sorted(ids: readonly string[]): readonly string[] {
  return [...new Set(ids)].sort();
}

function isSame(a: Sets, b: Sets): boolean {
  return a.members.join() === b.members.join() && a.known.join() === b.known.join();
}
