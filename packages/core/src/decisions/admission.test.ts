import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BatchSummary } from '../codec/batch-summary.js';
import type { Batch } from '../model/transaction.js';
import { admit, type AdmissionState } from './admission.js';

/**
 * What an origin has: each counter is one transaction, with a number of parts; 0 means it fits into
 * a message.
 */
interface Sent {
  readonly counter: number;
  readonly parts: number;
}

function summary(origin: string, first: number, last: number): BatchSummary {
  return {
    kind: 'transactions',
    origin,
    firstCounter: first,
    lastCounter: last,
    offset: 0,
    bytes: 0,
    last: true,
    epoch: 0,
    time: 0,
    schemaVersion: 1,
  };
}

/** One byte, at its place. */
function partSummary(origin: string, counter: number, offset: number, last: boolean): BatchSummary {
  return { ...summary(origin, counter, counter), kind: 'part', offset, bytes: 1, last };
}

/**
 * Messages for the transactions from index `from` on. Every resend packs differently: how many
 * whole transactions go into one message depends on what was waiting.
 */
function pack(origin: string, sent: readonly Sent[], from: number, sizes: readonly number[]): BatchSummary[] {
  const messages: BatchSummary[] = [];
  let at = from;
  while (at < sent.length) {
    const { counter, parts } = sent[at] as Sent;
    if (parts > 0) {
      for (let part = 0; part < parts; part++)
        messages.push(partSummary(origin, counter, part, part === parts - 1));
      at++;
      continue;
    }
    let end = at + 1;
    const size = sizes[messages.length % sizes.length] as number;
    while (end < sent.length && end - at < size && sent[end]?.parts === 0) end++;
    messages.push(summary(origin, counter, counter + (end - at) - 1));
    at = end;
  }
  return messages;
}

/** The simplest replica that could work: a list of what it applied, and the parts that it keeps. */
class Replica {
  readonly applied: Record<string, number[]> = {};
  readonly keptParts: Record<string, number[]> = {};
  state: AdmissionState = { vector: {}, partial: {} };

  receive(batch: BatchSummary): void {
    const verdict = admit(this.state, batch);
    const { origin } = batch;
    const done = this.applied[origin] ?? [];
    if (verdict.type === 'hole') {
      expect(verdict.expected).toBe(done.length + 1);
      expect(batch.firstCounter).toBeGreaterThanOrEqual(verdict.expected);
      return;
    }
    if (verdict.type === 'duplicate') {
      expect(batch.kind === 'part' || batch.lastCounter <= done.length).toBe(true);
      return;
    }
    if (batch.kind === 'transactions') {
      for (let counter = batch.firstCounter + verdict.skip; counter <= batch.lastCounter; counter++)
        done.push(counter);
      this.commit(origin, done, undefined);
      return;
    }
    const kept = [...(this.keptParts[origin] ?? []), batch.offset + verdict.skip];
    expect(kept).toEqual([...kept.keys()]);
    this.keptParts[origin] = batch.last ? [] : kept;
    if (batch.last) done.push(batch.firstCounter);
    const { firstCounter: counter, time, offset, bytes } = batch;
    this.commit(origin, done, batch.last ? undefined : { counter, time, bytes: offset + bytes });
  }

  private commit(
    origin: string,
    done: number[],
    partial: AdmissionState['partial'][string] | undefined,
  ): void {
    this.applied[origin] = done;
    const others = Object.fromEntries(Object.entries(this.state.partial).filter(([name]) => name !== origin));
    this.state = {
      vector: { ...this.state.vector, [origin]: done.length },
      partial: partial === undefined ? others : { ...others, [origin]: partial },
    };
  }
}

const parts = fc.oneof(
  { arbitrary: fc.constant(0), weight: 4 },
  { arbitrary: fc.integer({ min: 1, max: 4 }), weight: 1 },
);
const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 });

/**
 * One stay of the network: from where the sender starts again, how it packs, and what of it arrives
 * in which order.
 */
const delivery = fc.record({
  from: fc.nat(),
  sizes,
  /** Indexes of messages (modulo): picks with loss, repetition and any order at once. */
  picks: fc.array(fc.nat(), { maxLength: 30 }),
});

describe('admission', () => {
  it('I2: takes every counter exactly once and in order, whatever was lost, repeated, reordered or packed anew', () => {
    const origins = fc.array(
      fc.record({
        transactions: fc.array(parts, { maxLength: 12 }),
        deliveries: fc.array(delivery, { maxLength: 5 }),
      }),
      {
        minLength: 1,
        maxLength: 3,
      },
    );
    fc.assert(
      fc.property(origins, sizes, fc.infiniteStream(fc.nat()), (all, finalSizes, chance) => {
        const replica = new Replica();
        const queues = all.map(({ transactions, deliveries }, index) => {
          const sent = transactions.map((count, i) => ({ counter: i + 1, parts: count }));
          const messages = deliveries.flatMap((each) => {
            const packed = pack(`o${index}`, sent, each.from % (sent.length || 1), each.sizes);
            return packed.length === 0
              ? []
              : each.picks.map((pick) => packed[pick % packed.length] as BatchSummary);
          });
          // Go-back-N ends with everything from the first unacknowledged transaction on, in order.
          return [...messages, ...pack(`o${index}`, sent, 0, finalSizes)];
        });
        while (queues.some((queue) => queue.length > 0)) {
          const busy = queues.filter((queue) => queue.length > 0);
          const next = busy[(chance.next().value ?? 0) % busy.length]?.shift();
          if (next !== undefined) replica.receive(next);
        }
        all.forEach(({ transactions }, index) => {
          expect(replica.applied[`o${index}`] ?? []).toEqual(transactions.map((_, i) => i + 1));
        });
      }),
      { numRuns: 500 },
    );
  });

  it('I2: waits for a hole instead of skipping it', () => {
    const state = { vector: { a: 3 }, partial: {} };
    expect(admit(state, summary('a', 5, 6))).toEqual({ type: 'hole', expected: 4 });
    expect(admit(state, summary('a', 4, 6))).toEqual({ type: 'apply', skip: 0 });
    expect(admit(state, summary('a', 2, 6))).toEqual({ type: 'apply', skip: 2 });
    expect(admit(state, summary('a', 1, 3))).toEqual({ type: 'duplicate' });
    expect(admit(state, summary('b', 1, 1))).toEqual({ type: 'apply', skip: 0 });
    expect(admit(state, summary('b', 2, 2))).toEqual({ type: 'hole', expected: 1 });
  });

  it('I2: takes parts one after another, and only of the transaction that is next', () => {
    const state = { vector: { a: 3 }, partial: { a: { counter: 4, time: 0, bytes: 2 } } };
    expect(admit(state, partSummary('a', 4, 1, false))).toEqual({ type: 'duplicate' });
    expect(admit(state, partSummary('a', 4, 2, false))).toEqual({ type: 'apply', skip: 0 });
    expect(admit(state, partSummary('a', 4, 3, true))).toEqual({ type: 'hole', expected: 4 });
    expect(admit(state, partSummary('a', 5, 0, true))).toEqual({ type: 'hole', expected: 4 });
    expect(admit(state, partSummary('a', 3, 5, true))).toEqual({ type: 'duplicate' });
  });

  it('I2: takes what is new of a part that was cut elsewhere, and nothing of another transaction', () => {
    const state = { vector: {}, partial: { a: { counter: 1, time: 7, bytes: 100 } } };
    const part = (offset: number, bytes: number, last = false, time = 7): BatchSummary => ({
      ...partSummary('a', 1, offset, last),
      ...{ bytes, time },
    });
    expect(admit(state, part(0, 60))).toEqual({ type: 'duplicate' });
    expect(admit(state, part(60, 40))).toEqual({ type: 'duplicate' });
    expect(admit(state, part(60, 60))).toEqual({ type: 'apply', skip: 40 });
    expect(admit(state, part(100, 60))).toEqual({ type: 'apply', skip: 0 });
    expect(admit(state, part(120, 60))).toEqual({ type: 'hole', expected: 1 });
    expect(admit(state, part(60, 40, true))).toEqual({ type: 'apply', skip: 40 });
    expect(admit(state, part(0, 60, true))).toEqual({ type: 'duplicate' });
    // A power cut took the transaction back, and another one has its counter.
    expect(admit(state, part(0, 60, false, 9))).toEqual({ type: 'apply', skip: 0 });
    expect(admit(state, part(60, 60, false, 9))).toEqual({ type: 'hole', expected: 1 });
  });

  it('I2: ignores kept parts of a transaction that came whole in the meantime', () => {
    const stale = { vector: { a: 4 }, partial: { a: { counter: 4, time: 0, bytes: 2 } } };
    expect(admit(stale, partSummary('a', 5, 0, false))).toEqual({ type: 'apply', skip: 0 });
    const current = { vector: { a: 3 }, partial: { a: { counter: 4, time: 0, bytes: 2 } } };
    expect(admit(current, summary('a', 4, 4))).toEqual({ type: 'apply', skip: 0 });
  });

  it('I2: takes a synchronous group as a whole or not at all', () => {
    const sync = { token: 'g', readSeq: 1, claims: [[], [], []] };
    const group = { ...summary('a', 3, 5), sync };
    expect(admit({ vector: { a: 2 }, partial: {} }, group)).toEqual({ type: 'apply', skip: 0 });
    // Another attempt had a:3: what this one says of a:4 and a:5 was judged with another a:3.
    expect(admit({ vector: { a: 3 }, partial: {} }, group)).toEqual({ type: 'duplicate' });
    expect(admit({ vector: { a: 1 }, partial: {} }, group)).toEqual({ type: 'hole', expected: 2 });
  });

  it('takes decoded batches as it takes summaries', () => {
    const header = {
      origin: 'constructor',
      firstCounter: 1,
      epoch: 0,
      time: 0,
      context: {},
      schemaVersion: 1,
      tables: [],
    };
    const transactions = [1, 2, 3].map((counter) => ({ counter, time: 0, changes: [] }));
    const batch: Batch = { kind: 'transactions', ...header, transactions };
    expect(admit({ vector: {}, partial: {} }, batch)).toEqual({ type: 'apply', skip: 0 });
    expect(admit({ vector: { constructor: 2 }, partial: {} }, batch)).toEqual({ type: 'apply', skip: 2 });
    expect(admit({ vector: { constructor: 3 }, partial: {} }, batch)).toEqual({ type: 'duplicate' });
    const part: Batch = { kind: 'part', ...header, offset: 0, last: false, body: new Uint8Array(1) };
    expect(admit({ vector: {}, partial: {} }, part)).toEqual({ type: 'apply', skip: 0 });
  });
});
