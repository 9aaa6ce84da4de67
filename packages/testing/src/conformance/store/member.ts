import {
  admit,
  admitted,
  decodeBatches,
  HybridClock,
  newOfPart,
  type AdmissionState,
  type ApplyOutcome,
  type ApplyStep,
  type ClusterSchema,
  type InstallOptions,
  type PreparedGroup,
  type PrepareOptions,
  type Row,
  type Store,
  type WriteOutcome,
  type WriteRequest,
} from '@antiphon/core';
import { VirtualClock } from '../../clock/virtual-clock.js';
import type { RowOperation, StoreHarness } from '../store-harness.js';

export const GENERATION = 'conformance';
const CLUSTER = 'conformance';
const SLICE_MS = 5;
const PAGE_BYTES = 1_000_000;
/** Of a group, when a test does not say otherwise. */
const GROUP: PrepareOptions = { token: 'token', maxBytes: 1_000_000, certified: true };

export interface KitEntry {
  readonly seq: number;
  readonly origin: string;
  readonly data: Uint8Array;
}

/** The log of a test: entries in order, numbered from 1. */
export class KitLog {
  readonly entries: KitEntry[] = [];

  append(origin: string, data: Uint8Array): number {
    const seq = this.entries.length + 1;
    this.entries.push({ seq, origin, data });
    return seq;
  }
}

export type MemberOptions = Partial<
  Pick<InstallOptions, 'rowVersions' | 'writes' | 'asPrimary' | 'primary' | 'durable'>
>;

/** One store with what a replica does around it, as simple as can be. */
export class Member<Tx = unknown> {
  store: Store<Tx>;
  clock = new HybridClock(new VirtualClock());
  #sent = { counter: 0, part: 0 };

  constructor(
    readonly id: string,
    store: Store<Tx>,
    private readonly harness: StoreHarness<Tx>,
    readonly log: KitLog,
    private readonly schema: ClusterSchema,
    private options: MemberOptions,
  ) {
    this.store = store;
  }

  async install(first: {
    readonly createTables: boolean;
    readonly sealExistingRows: boolean;
  }): Promise<void> {
    this.clock = new HybridClock(new VirtualClock());
    const identity = {
      cluster: CLUSTER,
      replica: this.id,
      generation: GENERATION,
      schemaVersion: this.schema.version,
    };
    const { rowVersions = true, writes = 'capture', durable = false, primary, asPrimary } = this.options;
    const role = asPrimary === undefined ? {} : { asPrimary };
    const settings = { identity, schema: this.schema, writes, rowVersions, durable, ...role, ...first };
    await this.store.install(primary === undefined ? settings : { ...settings, primary }, this.clock);
  }

  /** With other settings from now on. */
  async change(options: MemberOptions): Promise<void> {
    this.options = { ...this.options, ...options };
    await this.install({ createTables: false, sealExistingRows: false });
  }

  async reopen(): Promise<void> {
    this.store = await this.harness.reopen(this.store);
    await this.#installAgain();
  }

  async crash(): Promise<void> {
    this.store = await this.harness.crash(this.store);
    await this.#installAgain();
  }

  async write(...operations: readonly RowOperation[]): Promise<WriteOutcome> {
    const [outcome] = await this.store.write([this.harness.request(operations)]);
    if (outcome === undefined || outcome.type === 'left-out') throw new Error('a write had no outcome');
    return outcome;
  }

  request(...operations: readonly RowOperation[]): WriteRequest<Tx> {
    return this.harness.request(operations);
  }

  /** A group in a transaction that stays open. */
  async prepare(
    requests: readonly WriteRequest<Tx>[],
    options: Partial<PrepareOptions> = {},
  ): Promise<PreparedGroup> {
    const group = await this.store.prepare(requests, { ...GROUP, ...options });
    if (group === undefined) throw new Error('something that others wrote must be sealed first');
    return group;
  }

  /**
   * The group becomes the next entry of the log, of which this member must have everything, and is
   * committed.
   */
  async commitInPlace(group: PreparedGroup): Promise<number> {
    const { data, lastCounter } = messageOf(group);
    const seq = this.log.append(this.id, data);
    await group.commit({ generation: GENERATION, seq });
    this.#sent = { counter: lastCounter, part: 0 };
    return seq;
  }

  async writeOutside(...operations: readonly RowOperation[]): Promise<void> {
    await this.harness.writeOutside(this.store, operations);
  }

  async rows(table: string): Promise<readonly Row[]> {
    return await this.harness.rows(this.store, table);
  }

  /** Everything sealed and not sent yet, to the log. */
  async publish(): Promise<void> {
    await this.store.seal();
    for (;;) {
      const messages = await this.store.sealed(this.#sent, PAGE_BYTES);
      if (messages.length === 0) return;
      for (const { lastCounter: counter, part, last, data } of messages) {
        // What came out of the log is kept as well, and published already.
        if (counter > this.store.state().publishedCounter) this.log.append(this.id, data);
        this.#sent = { counter, part };
        if (last) this.store.markPublished(counter);
      }
    }
  }

  /** Applies what the log has for it, at most so many entries, in one call of `apply`. */
  async receive(maxEntries = Infinity): Promise<ApplyOutcome> {
    const { position, vector, partial } = this.store.state();
    const entries = this.log.entries.slice(
      position.seq,
      Math.min(this.log.entries.length, position.seq + maxEntries),
    );
    const steps: ApplyStep[] = [];
    let state: AdmissionState = { vector: { ...vector }, partial: { ...partial } };
    for (const { seq, data } of entries) {
      for (const batch of decodeBatches(data)) {
        const admission = admit(state, batch);
        if (admission.type !== 'apply') continue;
        const { skip } = admission;
        if (batch.kind === 'transactions') steps.push({ type: 'transactions', batch, skip, seq });
        else steps.push({ type: 'part', batch: newOfPart(batch, skip), seq });
        state = admitted(state, batch);
      }
    }
    return await this.apply(steps, entries.at(-1)?.seq ?? position.seq);
  }

  async apply(steps: readonly ApplyStep[], seq: number): Promise<ApplyOutcome> {
    return await this.store.apply({
      steps,
      position: { generation: GENERATION, seq },
      yield: () => new Promise((resolve) => setImmediate(resolve)),
      sliceMs: SLICE_MS,
    });
  }

  /** Both ways: what it has to the log, what the log has to it. */
  async sync(): Promise<void> {
    await this.publish();
    await this.receive();
  }

  async checksums(): Promise<Readonly<Record<string, string>>> {
    const { tables } = await this.store.checksum();
    return Object.fromEntries(tables.map(({ table, checksum }) => [table, checksum]));
  }

  async #installAgain(): Promise<void> {
    await this.store.inspect();
    await this.install({ createTables: false, sealExistingRows: false });
    this.#sent = { counter: this.store.state().publishedCounter, part: 0 };
  }
}

export function messageOf({ message }: PreparedGroup): NonNullable<PreparedGroup['message']> {
  if (message === undefined) throw new Error('nothing that is replicated changed');
  return message;
}
