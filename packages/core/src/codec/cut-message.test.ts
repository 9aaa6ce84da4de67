import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { transactionBatch } from '../../test/arbitrary-batch.js';
import { admit, admitted, newOfPart, type AdmissionState } from '../decisions/admission.js';
import type { AntiphonError } from '../errors/antiphon-error.js';
import type { Batch, Change, TransactionBatch } from '../model/transaction.js';
import { cutMessage } from './cut-message.js';
import { decodeBatches } from './decode-batches.js';
import { decodeChanges } from './decode-changes.js';
import { encodeBatch } from './encode-batch.js';

interface Received {
  readonly counter: number;
  readonly time: number;
  readonly changes: readonly Change[];
}

/** What a replica makes of messages, in this order, which may repeat each other. */
class Receiver {
  readonly received: Received[] = [];
  #state: AdmissionState;
  #bodies: Uint8Array[] = [];

  constructor({ origin, firstCounter }: Batch) {
    this.#state = { vector: { [origin]: firstCounter - 1 }, partial: {} };
  }

  take(message: Uint8Array): void {
    for (const batch of decodeBatches(message)) {
      const admission = admit(this.#state, batch);
      if (admission.type !== 'apply') continue;
      this.#state = admitted(this.#state, batch);
      if (batch.kind === 'transactions') this.received.push(...batch.transactions.slice(admission.skip));
      else {
        const { offset, body, last, firstCounter: counter, time, tables } = newOfPart(batch, admission.skip);
        if (offset === 0) this.#bodies = [];
        this.#bodies.push(body);
        if (last) this.received.push({ counter, time, changes: [...decodeChanges(this.#bodies, tables)] });
      }
    }
  }
}

function tryCut(data: Uint8Array, maxBytes: number): readonly Uint8Array[] | undefined {
  try {
    return cutMessage(data, maxBytes);
  } catch (thrown) {
    expect((thrown as AntiphonError).code).toBe('MESSAGE_TOO_LARGE');
    return undefined;
  }
}

/** One whose rows take some room. */
const big: TransactionBatch = {
  ...{
    kind: 'transactions',
    origin: 'eu-1',
    firstCounter: 5,
    epoch: 0,
    time: 1_000_000,
    context: { 'eu-2': 3 },
  },
  ...{ schemaVersion: 1, tables: [{ name: 't', columns: ['id', 'v'], key: [0] }] },
  transactions: [10, 5000, 20, 0, 30].map((length, index) => ({
    counter: 5 + index,
    time: 1_000_000 + index,
    changes: Array.from({ length: 3 }, (_, row) => ({
      op: 'insert' as const,
      table: 0,
      row: [BigInt(row), 'x'.repeat(length)],
    })),
  })),
};

describe('cutMessage', () => {
  it('leaves what fits as it is', () => {
    fc.assert(
      fc.property(transactionBatch, (batch) => {
        const data = encodeBatch(batch);
        expect(cutMessage(data, data.length)).toEqual([data]);
      }),
      { numRuns: 200 },
    );
  });

  it('I2: nothing is over the limit, and what arrives is what was sealed', () => {
    fc.assert(
      fc.property(transactionBatch, fc.integer({ min: 300, max: 3000 }), (batch, maxBytes) => {
        const messages = tryCut(encodeBatch(batch), maxBytes);
        if (messages === undefined) return;
        const receiver = new Receiver(batch);
        for (const message of messages) {
          expect(message.length).toBeLessThanOrEqual(maxBytes);
          receiver.take(message);
        }
        expect(receiver.received).toStrictEqual(batch.transactions);
      }),
      { numRuns: 500 },
    );
  });

  it('I2: attempts that cut differently, or not at all, add up to one transaction each', () => {
    const data = encodeBatch(big);
    const cuts = [700, 1000, 4000, 20_000].map((maxBytes) => cutMessage(data, maxBytes));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: cuts.length - 1 }), fc.nat({ max: 40 })), { maxLength: 6 }),
        (attempts) => {
          const receiver = new Receiver(big);
          // Each attempt begins anew and ends somewhere; the last one goes through.
          for (const [cut, upTo] of attempts)
            for (const message of cuts[cut]!.slice(0, upTo)) receiver.take(message);
          for (const message of cuts[attempts.length % cuts.length]!) receiver.take(message);
          expect(receiver.received).toStrictEqual(big.transactions);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('cuts parts into smaller ones, of which only the last ends the transaction', () => {
    const [header] = [big].map(({ transactions: _, kind: __, ...rest }) => rest);
    const body = Uint8Array.from({ length: 5000 }, (_, index) => index % 251);
    const data = encodeBatch({ ...header!, kind: 'part', offset: 700, last: true, body });
    const parts = cutMessage(data, 1000).flatMap((message) => decodeBatches(message));
    expect(parts.length).toBeGreaterThan(5);
    expect(Buffer.concat(parts.map((part) => (part.kind === 'part' ? part.body : body)))).toEqual(
      Buffer.from(body),
    );
    expect(parts.map((part) => part.kind === 'part' && part.last).lastIndexOf(false)).toBe(parts.length - 2);
    expect(parts[0]).toMatchObject({ offset: 700, time: big.time });
  });

  it('says what does not go through at all', () => {
    const names = Array.from({ length: 100 }, (_, index) => `a_column_with_a_long_name_${index}`);
    const wide: TransactionBatch = {
      ...big,
      tables: [{ name: 't', columns: names, key: [0] }],
      transactions: [
        {
          counter: 5,
          time: big.time,
          changes: [{ op: 'insert', table: 0, row: names.map(() => 'x'.repeat(50)) }],
        },
      ],
    };
    expect(() => cutMessage(encodeBatch(wide), 2000)).toThrow(/eu-1:5 .*max_payload/);
    const sync = { token: 'x', readSeq: 0, claims: big.transactions.map(() => []) };
    expect(() => cutMessage(encodeBatch({ ...big, sync }), 2000)).toThrow(/synchronous group/);
  });
});
