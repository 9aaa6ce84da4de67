import { describe, expect, it } from 'vitest';
import type { LogHarness } from '../log-harness.js';
import { openedOf } from './reading.js';
import { append, fill, readTo } from './use.js';

export function describeTraces(harness: () => LogHarness): void {
  describe.each([{ durable: 'reader' }, { durable: undefined }])(
    'traces, read with durable $durable',
    ({ durable }) => {
      it('tells the traces of an entry to a reader that asks for them', async () => {
        const { log, generation, read } = await openedOf(harness());
        const traceparent = (span: number): string =>
          `00-4bf92f3577b34da6a3ce929d0e0e4736-${String(span).padStart(16, '0')}-01`;
        const traces = [
          { counter: 7, traceparent: traceparent(1) },
          { counter: 8, traceparent: traceparent(2), tracestate: 'vendor=a b,other=x' },
        ];
        const stored = await append(log, 'traced', { traces });
        const [plainSeq] = await fill(log, ['plain']);
        if (stored.type !== 'stored' || plainSeq === undefined) throw new Error('nothing was stored');
        const options = { generation, fromSeq: stored.seq, ...(durable !== undefined && { durable }) };
        const reader = await log.read({ ...options, traced: true });
        const entries = await readTo(reader, plainSeq);
        expect(entries.map((entry) => entry.traces)).toEqual([traces, undefined]);
        await reader.close();
        const other = await read(stored.seq, durable);
        expect((await readTo(other, plainSeq)).every((entry) => entry.traces === undefined)).toBe(true);
        await other.close();
      });

      it('stores an entry without the traces that find no room beside its data', async () => {
        const { log, generation } = await openedOf(harness());
        const traces = Array.from({ length: 100 }, (_, counter) => ({
          ...{ counter, traceparent: `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01` },
          tracestate: 'v='.padEnd(500, 'x'),
        }));
        const full = await append(log, 'full', { traces, data: new Uint8Array(log.maxMessageBytes) });
        const many = await append(log, 'many', { traces });
        if (full.type !== 'stored' || many.type !== 'stored') throw new Error('nothing was stored');
        const reader = await log.read({ generation, fromSeq: full.seq, traced: true });
        const entries = await readTo(reader, many.seq);
        expect(entries[0]).not.toHaveProperty('traces');
        expect(entries[1]?.traces).toEqual(traces.slice(0, 64));
        await reader.close();
      });
    },
  );
}
