import {
  admit,
  admitted,
  counterOf,
  decodeBatches,
  newOfPart,
  summarize,
  type AdmissionState,
  type Batch,
  type LogEntry,
  type StoreState,
} from '@antiphon/core';
import { retrying, type Deadline } from './deadline.js';
import type { ClusterDocument } from './cluster-document.js';
import { intakeRules, latestTime, refuseBatch, type IntakeRules } from './intake-check.js';
import type { Settings } from './options.js';

const SCAN = { maxEntries: 1024, maxBytes: 4 * 1024 * 1024 };
/** How far back the beginning of an own transaction in parts is looked for. */
const MAX_LOOK_BACK = 20_000;

/** Own transactions that the log has and the database has not. */
export interface OwnPast {
  readonly counter: number;
  /** Hybrid time, so that the clock goes on after it. */
  readonly time: number;
}

/**
 * What the log had of our own transactions, in order, up to the position: the two are stored together. (A database that was
 * interrupted while it took in its own past has `publishedCounter` ahead of what it applied.)
 */
export function ownLogState(id: string, state: StoreState): AdmissionState {
  return { vector: { [id]: Math.min(state.publishedCounter, counterOf(state.vector, id)) }, partial: {} };
}

/**
 * Own past first (design, section 5): a database that comes back older than what it published must take that in before it
 * writes, or it would use counters twice. Found by reading on from the position, not by believing the newest message: only what is
 * in the log in order counts. A message whose predecessor was lost was dropped by all receivers, and that we happen to have
 * its predecessor in our database does not change that.
 */
export async function findOwnPast(
  settings: Settings,
  document: ClusterDocument,
  deadline: Deadline,
): Promise<OwnPast | undefined> {
  const { log, id, store, clock } = settings;
  const newest = await retrying(clock, deadline, () => log.lastOf(id, deadline.signal));
  const state = store.state();
  // Everything up to the position has been dealt with, our own included.
  if (newest === undefined || newest.seq <= state.position.seq) return undefined;
  const { generation } = document;
  const rules = intakeRules({ document, limits: settings.limits });
  const scan = new OwnScan(id, ownLogState(id, state), rules);
  const fromSeq = await beginningOfParts(settings, scan.counter, deadline);
  const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq }));
  try {
    for (let seq = fromSeq - 1; seq < newest.seq;) {
      const past: Batch[] = [];
      for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
        if (entry.origin === id) past.push(...scan.take(entry));
        seq = entry.seq;
      }
      if (past.length > 0) await retrying(clock, deadline, () => noted(store, past));
      deadline.renew();
    }
  } finally {
    void reader.close();
  }
  const known = counterOf(state.vector, id);
  return scan.counter > known ? { counter: scan.counter, time: scan.time } : undefined;
}

async function noted(store: Settings['store'], past: readonly Batch[]): Promise<void> {
  await store.notePast?.(past);
}

/** Where to read from: after the position, or where the transaction began of which the position has passed some parts. */
async function beginningOfParts(settings: Settings, published: number, deadline: Deadline): Promise<number> {
  const { store, log, id, clock } = settings;
  const next = store.state().position.seq + 1;
  const [unpublished] = await store.sealed({ counter: published, part: 0 }, 1);
  // One that is published and in parts may still be there as well: looking back is harmless then.
  if (unpublished === undefined || (unpublished.last && unpublished.part === 0)) return next;
  for (let seq = next - 1; seq > Math.max(0, next - MAX_LOOK_BACK); seq--) {
    const entry = await retrying(clock, deadline, () => log.get(seq, deadline.signal));
    deadline.renew();
    if (entry?.origin !== id) continue;
    try {
      const [first] = summarize(entry.data);
      if (first === undefined || first.firstCounter <= published) return seq;
      if (first.firstCounter === published + 1 && first.offset === 0) return seq;
    } catch {
      // Malformed; not ours.
    }
  }
  return next;
}

/** Admits own messages in log order, as every replica does. */
export class OwnScan {
  /** The latest hybrid time among what was admitted. */
  time = 0;
  #state: AdmissionState;

  constructor(
    private readonly id: string,
    state: AdmissionState,
    /** What no replica applies does not count: a forged message must not lift our counter. */
    private readonly rules: IntakeRules,
  ) {
    this.#state = state;
  }

  get counter(): number {
    return counterOf(this.#state.vector, this.id);
  }

  /** Returns what of the entry counts. */
  take(entry: LogEntry): readonly Batch[] {
    const taken: Batch[] = [];
    try {
      const batches = decodeBatches(entry.data);
      for (const batch of batches) {
        if (refuseBatch(entry, batch, this.rules) !== undefined) continue;
        if (batch.origin !== this.id) continue;
        const admission = admit(this.#state, batch);
        if (admission.type !== 'apply') continue;
        this.#state = admitted(this.#state, batch);
        this.time = Math.max(this.time, latestTime(batch));
        taken.push(batch.kind === 'part' ? newOfPart(batch, admission.skip) : batch);
      }
    } catch {
      // Malformed: the feed puts it aside when it gets there.
    }
    return taken;
  }
}
