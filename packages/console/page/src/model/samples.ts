import type { Picture, Status } from '../data/cluster.js';

/** What the charts show, for each replica. */
export const MEASURES = ['rate', 'lag', 'writeMs', 'seq'] as const;
export type Measure = (typeof MEASURES)[number];

type Values = Partial<Record<Measure, number>>;

interface Sample {
  readonly atMs: number;
  readonly values: Readonly<Record<string, Values>>;
}

/** The last minutes, kept in the page only. */
export interface Samples {
  readonly all: readonly Sample[];
  /** What rates are counted from. */
  readonly last: Readonly<Record<string, Status>>;
}

/** A quarter of an hour: one a second. */
export const MAX_SAMPLES = 900;
/** Pictures come more often while something happens: rates over less would be noise. */
const LEAST_MS = 900;

export const noSamples: Samples = { all: [], last: {} };

export function sampled(samples: Samples, { atMs, members }: Picture): Samples {
  const newest = samples.all.at(-1);
  if (newest !== undefined && atMs - newest.atMs < LEAST_MS) return samples;
  const statuses = members.flatMap(({ status }) => status ?? []);
  const values = statuses.map((status) => [status.id, valuesOf(samples.last[status.id], status)] as const);
  const last = { ...samples.last, ...Object.fromEntries(statuses.map((status) => [status.id, status])) };
  const sample = { atMs, values: Object.fromEntries(values) };
  return { all: [...samples.all.slice(1 - MAX_SAMPLES), sample], last };
}

function valuesOf(before: Status | undefined, now: Status): Values {
  const seconds = before?.instance === now.instance ? (now.nowMs - before.nowMs) / 1000 : 0;
  const state = { lag: now.lag.entries, seq: now.position.seq };
  if (before === undefined || seconds <= 0) return state;
  const writes = difference(before, now, 'acknowledgedWrites');
  const tookMs = difference(before, now, 'acknowledgedMs');
  const rate = Math.max(0, transactionsOf(now) - transactionsOf(before)) / seconds;
  return { ...state, rate, ...(writes > 0 && { writeMs: tookMs / writes }) };
}

function difference({ totals: before }: Status, { totals: now }: Status, name: string): number {
  return (now[name] ?? 0) - (before[name] ?? 0);
}

/** Everything that this database has, whoever wrote it. */
function transactionsOf({ id, vector, lastCounter }: Status): number {
  const own = Math.max(lastCounter, vector[id] ?? 0);
  return Object.entries(vector).reduce((sum, [origin, counter]) => sum + (origin === id ? 0 : counter), own);
}

/** Seconds, and then a column for each replica; `null` where nothing is known. */
export type Columns = [seconds: number[], ...columns: (number | null)[][]];

export function columnsOf({ all }: Samples, ids: readonly string[], measure: Measure): Columns {
  const seconds = all.map(({ atMs }) => atMs / 1000);
  return [seconds, ...ids.map((id) => all.map(({ values }) => values[id]?.[measure] ?? null))];
}

export function newestOf({ all }: Samples, id: string, measure: Measure): number | undefined {
  return all.at(-1)?.values[id]?.[measure];
}
