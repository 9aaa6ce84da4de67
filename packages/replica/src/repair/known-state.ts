import {
  type AdmissionState,
  admit,
  AntiphonError,
  type ApplyStep,
  type Batch,
  compareVectors,
  counterOf,
  decodeBatches,
  HybridClock,
  isReserved,
  type LogEntry,
  newOfPart,
  soleWriter,
  type Store,
  type StoreState,
  newestEpoch,
  type VectorClock,
} from '@antiphon/core';
import { intakeRules } from '../deliver/rules.js';
import { retrying, type Deadline } from '../wait/deadline.js';
import { Intake, type IntakePlan } from '../deliver/intake.js';
import type { Scope } from '../state/scope.js';
import { Certification } from '../state/certification.js';

/** The reference is nobody's database: no message is its own. No replica can have this id. */
const NOBODY = '_reference';
/** Whatever database reads it: the fault is in the message, and every replica quarantines it. */
const NOBODY_CAN = new Set(['MALFORMED_MESSAGE', 'MESSAGE_TOO_LARGE', 'UNSUPPORTED_FORMAT']);

/**
 * Brings an empty database to the state in which replication left this replica: the log up to its
 * position, decided upon as every replica does, what it has applied of the entry behind it, and
 * what it sealed itself and the log does not have before that position. Only changes of `table` are
 * kept.
 */
export class KnownState {
  readonly #state: StoreState;
  readonly #certification: Certification | undefined;
  readonly #refused = new Map<string, AntiphonError>();

  constructor(
    private readonly scope: Scope,
    private readonly reference: Store,
    private readonly table: string,
    private readonly deadline: Deadline,
  ) {
    this.#state = scope.store.state();
    if (scope.sync?.certification !== undefined) this.#certification = new Certification();
  }

  /**
   * The state of this replica that it is made for. Throws LOG_REPLACED, LOG_UNAVAILABLE, TIMEOUT,
   * ABORTED.
   */
  async restore(): Promise<StoreState> {
    await this.#install();
    await this.#applyLog();
    await this.#applyBegun();
    const lastSealed = await this.#applySealed();
    if (!this.#isRestored(lastSealed)) throw notTheSame(this.scope, this.#state);
    return this.#state;
  }

  /**
   * A database that recovers its own transactions has applied later transactions of its own, too:
   * those that it has sealed.
   */
  #isRestored(lastSealed: number): boolean {
    const { id } = this.scope;
    const { vector: restored } = this.reference.state();
    const { vector } = this.#state;
    const own = Math.max(counterOf(vector, id), lastSealed);
    return compareVectors(restored, own === 0 ? vector : { ...vector, [id]: own }) === 'equal';
  }

  async #install(): Promise<void> {
    const { document, cluster, clock } = this.scope;
    const { schema, generation, rowVersions, topology, failover } = document;
    const primary = soleWriter(topology);
    await this.reference.inspect();
    await this.reference.install(
      {
        identity: { cluster, replica: NOBODY, generation, schemaVersion: schema.version },
        ...{
          schema,
          writes: 'refuse',
          ...(primary !== undefined && { primary }),
          // It follows the epochs, and is in none of them the primary.
          ...(failover !== undefined && { asPrimary: 'library' }),
          rowVersions,
          createTables: true,
          sealExistingRows: false,
          durable: false,
        },
      },
      new HybridClock(clock),
    );
  }

  async #applyLog(): Promise<void> {
    const { log, clock } = this.scope;
    const { seq: untilSeq } = this.#state.position;
    if (untilSeq === 0) return;
    const { deadline } = this;
    const { firstSeq } = await retrying(clock, deadline, () => log.identity(deadline.signal));
    if (firstSeq > 1) throw trimmed(this.scope, firstSeq);
    // A log's own first record is shown to no reader: to read up to it would never end.
    if (untilSeq === 1) {
      const first = await retrying(clock, deadline, () => log.get(1, deadline.signal));
      if (first === undefined || isReserved(first.origin)) return;
    }
    await this.#read(1, untilSeq, (entries) => this.#take(entries));
  }

  async #read(
    fromSeq: number,
    untilSeq: number,
    take: (entries: readonly LogEntry[]) => Promise<void>,
  ): Promise<void> {
    const { log, clock, limits } = this.scope;
    const { generation } = this.#state.position;
    const { deadline } = this;
    const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq }));
    try {
      for (let seq = 0; seq < untilSeq;) {
        const entries = await reader.next({
          ...{ maxEntries: limits.applyEntries, maxBytes: limits.applyBytes },
          signal: deadline.signal,
        });
        seq = entries.at(-1)?.seq ?? seq;
        await take(entries.filter((entry) => entry.seq <= untilSeq));
        deadline.renew();
      }
    } finally {
      void reader.close();
    }
  }

  /**
   * What it has applied of the entry behind its position, of which it refuses the rest: that one it
   * waits in front of. What it keeps of its own comes after this.
   */
  async #applyBegun(): Promise<void> {
    const { scope, deadline } = this;
    const { id, log, clock, store, limits } = scope;
    const { vector, position } = this.#state;
    const after = { counter: counterOf(this.reference.state().vector, id), part: 0 };
    const [kept] = await store.sealed(after, limits.pageBytes);
    const own = Math.min(counterOf(vector, id), (kept?.firstCounter ?? Infinity) - 1);
    const entry = await retrying(clock, deadline, () => log.get(position.seq + 1, deadline.signal));
    if (entry === undefined) return;
    const steps = this.#plan([entry]).steps.flatMap((step) => upTo({ ...vector, [id]: own }, step) ?? []);
    const refused = await this.#apply(steps, position.seq);
    if (refused !== undefined) throw refused.error;
  }

  async #take(entries: readonly LogEntry[]): Promise<void> {
    for (let rest = entries; rest.length > 0;) {
      const plan = this.#plan(rest);
      if (plan.halt !== undefined) throw plan.halt.error;
      const refused = await this.#apply(plan.steps, plan.seq);
      if (refused === undefined) {
        // A plan ends with the epoch that begins in it.
        rest = rest.filter((entry) => entry.seq > plan.seq);
        continue;
      }
      const { step, error } = refused;
      const { seq = 0 } = plan.steps[step] ?? {};
      if (!NOBODY_CAN.has(error.code)) throw error;
      this.#refused.set(`${seq}/${plan.batches[step] ?? -1}`, error);
      const { position } = this.reference.state();
      rest = rest.filter((entry) => entry.seq > position.seq);
    }
  }

  #plan(entries: readonly LogEntry[]): IntakePlan {
    const { members, sync } = this.scope;
    const state = this.reference.state();
    return Intake.plan(entries, state, intakeRules(this.scope), {
      ownLog: { vector: {}, partial: {} },
      ...{ ownCounter: Infinity, recoverOwnUpTo: 0, ownLatestTime: 0 },
      causesMayBeMissing: state.quarantined > 0,
      gaps: state.gaps,
      epoch: newestEpoch(state),
      ...{ instance: '', takesWrites: false },
      isMember: (origin) =>
        members.has(origin) ||
        counterOf(this.#state.vector, origin) > 0 ||
        sync?.inSync.known.includes(origin) === true,
      refused: (seq, batch) => this.#refused.get(`${seq}/${batch}`),
      ...(sync && { synchronous: { certification: this.#certification } }),
    });
  }

  async #apply(
    steps: readonly ApplyStep[],
    seq: number,
  ): Promise<{ readonly step: number; readonly error: AntiphonError } | undefined> {
    const { clock, limits, document } = this.scope;
    // However much there is: only silence of the log ends it.
    const { refused } = await this.deadline.paused(() =>
      this.reference.apply({
        steps: steps.map((step) => this.#wanted(step)),
        position: { generation: document.generation, seq },
        yield: () => clock.yield(),
        sliceMs: limits.applySliceMs,
      }),
    );
    this.deadline.signal.throwIfAborted();
    return refused;
  }

  /**
   * A transaction counts as applied whatever is left of it. Parts of a big one are bytes: they are
   * applied as they are.
   */
  #wanted(step: ApplyStep): ApplyStep {
    if (step.type !== 'transactions') return step;
    const { batch } = step;
    const index = batch.tables.findIndex(({ name }) => name === this.table);
    const transactions = batch.transactions.map((transaction) => ({
      ...transaction,
      changes: transaction.changes.filter((change) => change.table === index),
    }));
    return { ...step, batch: { ...batch, transactions } };
  }

  /**
   * What the log has only behind the position, or not at all: it lies on top of what was applied.
   * Returns the last counter of it.
   */
  async #applySealed(): Promise<number> {
    const { store, limits, id } = this.scope;
    const { seq } = this.#state.position;
    let lastSealed = 0;
    for (let after = { counter: counterOf(this.reference.state().vector, id), part: 0 }; ;) {
      const messages = await store.sealed(after, limits.pageBytes);
      const last = messages.at(-1);
      if (last === undefined) return lastSealed;
      lastSealed = last.lastCounter;
      after = { counter: last.lastCounter, part: last.part };
      for (const { data } of messages) await this.#applyOwn(data, seq);
      this.deadline.renew();
    }
  }

  async #applyOwn(data: Uint8Array, seq: number): Promise<void> {
    for (const batch of decodeBatches(data))
      await this.#applyBatch(batch, this.#admission(batch.firstCounter), seq);
  }

  async #applyBatch(batch: Batch, state: AdmissionState, seq: number): Promise<void> {
    const admission = admit(state, batch);
    if (admission.type !== 'apply') return;
    const step: ApplyStep =
      batch.kind === 'part'
        ? { type: 'part', batch: newOfPart(batch, admission.skip), seq }
        : { type: 'transactions', batch, skip: admission.skip, seq };
    const refused = await this.#apply([step], seq);
    if (refused !== undefined) throw refused.error;
  }

  /**
   * A database that recovers its own transactions has later transactions of its own behind a hole.
   */
  #admission(firstCounter: number): AdmissionState {
    const { id } = this.scope;
    const { vector, partial } = this.reference.state();
    return { vector: { ...vector, [id]: Math.max(counterOf(vector, id), firstCounter - 1) }, partial };
  }
}

/** What of it such a vector has. */
function upTo(vector: VectorClock, step: ApplyStep): ApplyStep | undefined {
  if (step.type !== 'transactions' && step.type !== 'part') return undefined;
  const counter = counterOf(vector, step.batch.origin);
  if (step.batch.firstCounter > counter) return undefined;
  if (step.type === 'part') return step;
  const transactions = step.batch.transactions.filter((one) => one.counter <= counter);
  return { ...step, batch: { ...step.batch, transactions } };
}

const OTHER_WAY =
  'Stop the replica, move its file away, and start it with an empty one, which gets everything that the log has. ' +
  'Then write again what only the old file has (`sqldiff --primarykey` shows it).';

function trimmed({ cluster, id }: Scope, firstSeq: number): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `The log begins with entry ${firstSeq}, so it no longer says what the table held. ${OTHER_WAY}`,
    { context: { cluster, replica: id } },
  );
}

function notTheSame({ cluster, id }: Scope, { position }: StoreState): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `The log up to entry ${position.seq} is not what this database has applied, so it does not say what the table held. ${OTHER_WAY}`,
    { context: { cluster, replica: id } },
  );
}
