import type { ApplyOutcome, Clock, RowConflict, UpdateSettings, Value } from '@antiphon/core';
import type { Health } from './health.js';

/**
 * Two replicas changed one row without knowing of each other: whose change stays, and whose is
 * lost. Plain JSON.
 */
export interface ConflictReport {
  /** The table of the row. */
  readonly table: string;
  /** The primary key, as SQL shows it, one text per column. */
  readonly key: readonly string[];
  /** The replica whose change stays. */
  readonly winner: string;
  /** The replica whose change is lost. */
  readonly loser: string;
  /** When it was decided here, in milliseconds since 1970. */
  readonly atMs: number;
}

/** `status` shows so many. */
const MAX_REPORTS = 16;
const MAX_KEY_CHARACTERS = 100;
/** The alarm ends when there was none for so long. */
const RECENT_MS = 600_000;
const ALARM = 'conflicts';
/** With synchronous updates, only what other programs write can be in conflict. */
const ADVICE: Readonly<Record<UpdateSettings['mode'], string>> = {
  async:
    'Write each row at one replica, give new rows keys that no other replica uses, or use synchronous updates',
  sync:
    'Other programs write to replicated tables: let them write each row at one replica, ' +
    'or create the cluster with `foreignWrites: refuse` and write through it alone',
};

/** `reports`: the last of these `count` conflicts. */
export type ConflictListener = (count: number, reports: readonly ConflictReport[]) => void;

/** Conflicts that were decided since this process runs. The database counts all of them. */
export class Conflicts {
  #reports: readonly ConflictReport[] = [];
  #lastMs = -Infinity;
  /** Since the alarm began. */
  #recent = 0;
  readonly #listeners = new Set<ConflictListener>();

  constructor(
    private readonly health: Health,
    private readonly clock: Clock,
    private readonly updates: UpdateSettings['mode'],
  ) {}

  /** The newest last. */
  get reports(): readonly ConflictReport[] {
    return this.#reports;
  }

  onConflict(listener: ConflictListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  note({ conflicts, lastConflicts = [] }: ApplyOutcome): void {
    if (conflicts === 0) return;
    const atMs = this.clock.nowMs();
    const reports = lastConflicts.map((one) => reportOf(one, atMs));
    this.#reports = [...this.#reports, ...reports].slice(-MAX_REPORTS);
    for (const listener of this.#listeners) listener(conflicts, reports);
    this.#lastMs = this.clock.monotonicMs();
    this.#recent += conflicts;
    const last = this.#reports.at(-1);
    const example =
      last === undefined
        ? ''
        : `, the last one in table ${last.table}, key ${last.key.join(', ')}: ${last.winner} won over ${last.loser}`;
    const times = this.#recent === 1 ? 'once' : `${this.#recent} times`;
    this.health.alarm(
      ALARM,
      `Two replicas changed the same row at the same time (${times}${example}). The last writer won and the other change is lost. ` +
        `${ADVICE[this.updates]} (docs/several-writers.md).`,
    );
  }

  /** Now and then: the alarm ends when there has been none for a while. */
  look(): void {
    if (this.#recent === 0 || this.clock.monotonicMs() - this.#lastMs < RECENT_MS) return;
    this.#recent = 0;
    this.health.clearAlarm(ALARM);
  }
}

function reportOf({ table, key, winner, loser }: RowConflict, atMs: number): ConflictReport {
  return { table, key: key.map(shown), winner: winner.origin, loser: loser.origin, atMs };
}

/** As SQL shows it, cut short. */
export function shown(value: Value): string {
  if (typeof value === 'string') return shortened(`'${value.replaceAll("'", "''")}'`);
  if (value instanceof Uint8Array) return shortened(`x'${Buffer.from(value).toString('hex')}'`);
  return value === null ? 'NULL' : String(value);
}

function shortened(text: string): string {
  return text.length > MAX_KEY_CHARACTERS ? `${text.slice(0, MAX_KEY_CHARACTERS)}…` : text;
}
