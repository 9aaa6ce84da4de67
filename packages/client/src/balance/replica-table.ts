import {
  type Beat,
  type BeatPrimary,
  beatSubject,
  type Bus,
  type Clock,
  decodeBeat,
  type Timer,
  toAntiphonError,
} from '@antiphon/core';
import { afterRead, beforeRead, type Circuit, type CircuitEvent, CLOSED, phaseAt } from './circuit.js';
import type { ReplicaView } from './replica-view.js';

/** What a table asks of the cluster. */
export interface TableSource {
  readonly bus: Bus;
  readonly cluster: string;
  /** The ids of all members. */
  members(): Promise<readonly string[]>;
  /** What a replica says about itself; rejects when it does not answer. */
  beatOf(id: string): Promise<Beat>;
}

interface Entry {
  readonly id: string;
  beat: Beat | undefined;
  heardMs: number;
  /** When nobody listened under its name. */
  goneMs: number;
  probing: boolean;
  circuit: Circuit;
  outstanding: number;
  roundTripMs: number | undefined;
}

/** A read that waits for an answer of a replica. */
interface Watcher {
  readonly entry: Entry;
  readonly startedMs: number;
  /** The process that was asked. */
  readonly instance: string | undefined;
  readonly silenceMs: number;
  readonly onGone: () => void;
  /** When it is looked whether the replica is there. */
  lookMs: number;
}

/** `event` undefined: nothing was learned about the replica. */
type ReadEnded = (event: CircuitEvent | undefined, tookMs: number) => void;

/** The weight of the newest round trip in the moving average. */
const NEWEST_SHARE = 0.2;
/** Whoever has not answered for so long is asked whether it is there. */
const PROBE_MS = 500;
/** Members are looked up again so often, and at once when somebody unknown is heard. */
const REFRESH_MS = 10_000;
const STRANGER_PAUSE_MS = 1000;

/**
 * What a client knows of each replica: what its beats say, and what became of the reads that it got
 * from here. Beats go to everybody every second, so a client costs the replicas nothing.
 */
export class ReplicaTable implements Disposable {
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<() => void>();
  readonly #watchers = new Set<Watcher>();
  /** While somebody waits for an answer; one for all of them, since most answers come soon. */
  #looking: Timer | undefined;
  #primary: BeatPrimary | undefined;
  #refreshedMs = -Infinity;
  #refreshing: Promise<void> | undefined;
  #stop: () => void = () => undefined;

  constructor(
    private readonly source: TableSource,
    private readonly clock: Clock,
  ) {}

  /** Listens, and asks every member once. Throws what `members` throws. */
  async start(): Promise<void> {
    const { bus, cluster } = this.source;
    const subscription = bus.subscribe(beatSubject(cluster, '*'), ({ data }) => this.#hear(decodeBeat(data)));
    this.#stop = () => subscription.unsubscribe();
    await this.refresh();
    await this.askAll();
  }

  /** Who the primary is, as the newest of all that were heard says; undefined where all write. */
  get primary(): BeatPrimary | undefined {
    return this.#primary;
  }

  /** The newest beat of a replica. */
  beatOf(id: string): Beat | undefined {
    return this.#entries.get(id)?.beat;
  }

  views(): readonly ReplicaView[] {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#refreshedMs > REFRESH_MS) void this.refresh().catch(() => undefined);
    return [...this.#entries.values()].map((entry) => this.#view(entry, nowMs));
  }

  #view({ id, beat, heardMs, circuit, outstanding, roundTripMs }: Entry, nowMs: number): ReplicaView {
    const { weight, zone, isDrained } = beat?.reads ?? { weight: 1, isDrained: false };
    return {
      ...{ id, weight, isDrained, outstanding },
      ...(zone !== undefined && { zone }),
      isPrimary: this.#primary?.id === id,
      ...(beat !== undefined && { lifecycle: beat.lifecycle }),
      silentMs: nowMs - heardMs,
      lagEntries: beat?.lagEntries ?? 0,
      lagMs: beat?.lagMs ?? 0,
      ...(roundTripMs !== undefined && { roundTripMs }),
      circuit: phaseAt(circuit, nowMs),
    };
  }

  /**
   * A read goes there. Tell what it returns what became of it, once. A replica that was removed and
   * added again meanwhile is another one, and has nothing to do with it.
   */
  sent(id: string): ReadEnded {
    const entry = this.#entries.get(id);
    if (entry === undefined) return () => undefined;
    entry.outstanding++;
    entry.circuit = beforeRead(entry.circuit, this.clock.monotonicMs());
    return (event, tookMs) => this.#ended(entry, event, tookMs);
  }

  #ended(entry: Entry, event: CircuitEvent | undefined, tookMs: number): void {
    entry.outstanding--;
    if (event === undefined) return;
    const nowMs = this.clock.monotonicMs();
    entry.circuit = afterRead(entry.circuit, event, nowMs);
    if (event === 'gone') this.#gone(entry);
    if (event !== 'answered') return;
    entry.heardMs = nowMs;
    entry.roundTripMs =
      entry.roundTripMs === undefined ? tookMs : mix(entry.roundTripMs, tookMs, NEWEST_SHARE);
  }

  /**
   * Calls `onGone` when the process that is asked now has no answer left: nobody listens under its
   * name any more, another process does, or it was not heard for so long. Returns how to stop.
   */
  watch(id: string, silenceMs: number, onGone: () => void): () => void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return () => undefined;
    const startedMs = this.clock.monotonicMs();
    const instance = entry.beat?.instance;
    const watcher = { entry, startedMs, instance, silenceMs, onGone, lookMs: startedMs + PROBE_MS };
    this.#watchers.add(watcher);
    this.#looking ??= this.clock.setTimer(PROBE_MS, () => this.#look());
    return () => void this.#watchers.delete(watcher);
  }

  #look(): void {
    this.#looking = undefined;
    const nowMs = this.clock.monotonicMs();
    let nextMs = Infinity;
    for (const watcher of this.#watchers) {
      if (watcher.lookMs <= nowMs) {
        if (isGone(watcher, nowMs)) {
          watcher.onGone();
          continue;
        }
        void this.#probe(watcher.entry);
        watcher.lookMs = nowMs + PROBE_MS;
      }
      nextMs = Math.min(nextMs, watcher.lookMs);
    }
    if (nextMs < Infinity) this.#looking = this.clock.setTimer(nextMs - nowMs, () => this.#look());
  }

  /** Asks whether it is there. It says so to everybody who waits for it. */
  async #probe(entry: Entry): Promise<void> {
    if (entry.probing) return;
    entry.probing = true;
    try {
      this.#hear(await this.source.beatOf(entry.id));
    } catch (thrown) {
      if (toAntiphonError(thrown).code === 'NO_ACTOR') this.#gone(entry);
    } finally {
      entry.probing = false;
    }
  }

  #gone(entry: Entry): void {
    entry.goneMs = this.clock.monotonicMs();
    this.#changed();
  }

  /** A replica has named the primary in an answer. */
  learnPrimary(primary: BeatPrimary): void {
    const known = this.#primary;
    if (known !== undefined && primary.epoch <= known.epoch) return;
    this.#primary = primary;
    this.#changed();
  }

  /** Called when a beat or another member was heard. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Looks up who the members are. Calls that come meanwhile share it. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    this.#refreshedMs = this.clock.monotonicMs();
    const ids = new Set(await this.source.members());
    for (const id of this.#entries.keys()) if (!ids.has(id)) this.#entries.delete(id);
    for (const id of ids) if (!this.#entries.has(id)) this.#entries.set(id, entryOf(id));
  }

  /** Asks every member for its beat: those that answer are known at once. Never rejects. */
  async askAll(): Promise<void> {
    const ids = [...this.#entries.keys()];
    await Promise.all(
      ids.map((id) =>
        this.source.beatOf(id).then(
          (beat) => this.#hear(beat),
          () => undefined,
        ),
      ),
    );
  }

  #hear(beat: Beat): void {
    const entry = this.#entries.get(beat.id);
    if (entry === undefined) {
      const isDue = this.clock.monotonicMs() - this.#refreshedMs > STRANGER_PAUSE_MS;
      if (isDue) void this.refresh().catch(() => undefined);
      return;
    }
    // A new process has nothing to do with the failures of the last one.
    if (entry.beat !== undefined && entry.beat.instance !== beat.instance) entry.circuit = CLOSED;
    entry.beat = beat;
    entry.heardMs = this.clock.monotonicMs();
    if (beat.primary !== undefined) this.learnPrimary(beat.primary);
    this.#changed();
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
    const nowMs = this.clock.monotonicMs();
    for (const watcher of this.#watchers) if (isGone(watcher, nowMs)) watcher.onGone();
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#looking?.cancel();
    this.#listeners.clear();
    this.#watchers.clear();
  }
}

/** The process that was asked has no answer left. */
function isGone({ entry, startedMs, instance, silenceMs }: Watcher, nowMs: number): boolean {
  const isOther = instance !== undefined && entry.beat?.instance !== instance;
  return isOther || entry.goneMs >= startedMs || nowMs - Math.max(entry.heardMs, startedMs) >= silenceMs;
}

function entryOf(id: string): Entry {
  return {
    ...{ id, beat: undefined, heardMs: -Infinity, goneMs: -Infinity, probing: false },
    ...{ circuit: CLOSED, outstanding: 0 },
    roundTripMs: undefined,
  };
}

function mix(old: number, newest: number, share: number): number {
  return old + (newest - old) * share;
}
