import type { AppendResult, Log } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { codeOf } from '../error-code.js';
import type { LogHarness } from '../log-harness.js';
import { append, appendSurely, bytes, fill, numbers, readTo, seqOf, text } from './use.js';

export function describeAppending(harness: () => LogHarness): void {
  const opened = (): Promise<Log> => openedOf(harness());
  describe('appending', () => {
    it('stores in the order of the calls, and settles once, never inside of the call', async () => {
      const log = await opened();
      const settled: AppendResult[] = [];
      const count = 500;
      await new Promise<void>((resolve) => {
        for (const id of numbers('n', count)) {
          const before = settled.length;
          log.append({ origin: 'writer', id, data: bytes(id) }, (result) => {
            if (settled.push(result) === count) resolve();
          });
          expect(settled).toHaveLength(before);
        }
      });
      const seqs = settled.map((result) => (result.type === 'stored' ? result.seq : 0)).sort((a, b) => a - b);
      const [first = 0] = seqs;
      expect(seqs).toEqual(seqs.map((_, index) => first + index));
      expect(text((await log.get(first + 7))?.data)).toBe('n8');
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(settled).toHaveLength(count);
    });

    it('gives entries back as they were, by number and by origin, never stale', async () => {
      const [log, other] = [await opened(), await opened()];
      const data = new Uint8Array([0, 255, 1, 0]);
      const result = await append(log, 'one', { origin: 'first', data });
      const seq = result.type === 'stored' ? result.seq : 0;
      expect(result).toEqual({ type: 'stored', seq, duplicate: false });
      const entry = await other.get(seq);
      expect(entry).toMatchObject({ seq, origin: 'first' });
      expect([...(entry?.data ?? [])]).toEqual([...data]);
      expect(entry?.storedAtMs).toBeGreaterThan(0);
      expect((await other.lastOf('first'))?.seq).toBe(seq);
      expect(await other.lastOf('second')).toBeUndefined();
      expect(await other.get(seq + 1)).toBeUndefined();
      await append(log, 'two', { origin: 'second' });
      await append(log, 'three', { origin: 'first' });
      expect(text((await other.lastOf('first'))?.data)).toBe('three');
      expect(text((await other.lastOf('second'))?.data)).toBe('two');
    });

    it('I2: drops a repetition that it remembers, and says where the first is', async () => {
      const log = await opened();
      const [seq] = await fill(log, ['x']);
      expect(await append(log, 'writer:x')).toEqual({ type: 'stored', seq, duplicate: true });
      expect((await log.identity()).lastSeq).toBe(seq);
    });

    it('stores after an expected entry only', async () => {
      const log = await opened();
      const [seq = 0] = await fill(log, ['x']);
      const refused = await append(log, 'y', { expectedLastSeq: seq - 1 });
      expect(refused.type).toBe('refused');
      expect((await log.identity()).lastSeq).toBe(seq);
      expect(await append(log, 'y', { expectedLastSeq: seq })).toMatchObject({
        type: 'stored',
        seq: seq + 1,
      });
      // A chain in flight: what follows a refused one is refused as well.
      const chain = [seq + 1, seq + 9, seq + 10].map((expectedLastSeq, index) =>
        append(log, `z${index}`, { expectedLastSeq }),
      );
      expect((await Promise.all(chain)).map(({ type }) => type)).toEqual(['stored', 'refused', 'refused']);
    });

    it("takes Antiphon's own records, and gives them back under their name", async () => {
      const log = await opened();
      const { generation } = await log.identity();
      const first = seqOf(await append(log, 'set:1', { origin: '_insync' }));
      await append(log, 'between');
      const last = seqOf(await append(log, 'set:2', { origin: '_insync' }));
      await append(log, 'fence', { origin: '_barrier' });
      expect(await log.lastOf('_insync')).toMatchObject({ seq: last, origin: '_insync' });
      expect(text((await log.lastOf('_barrier'))?.data)).toBe('fence');
      expect(await log.get(first)).toMatchObject({ seq: first, origin: '_insync' });
      const reader = await log.read({ generation, fromSeq: first });
      const origins = (await readTo(reader, last + 1)).map(({ origin }) => origin);
      expect(origins).toEqual(['_insync', 'writer', '_insync', '_barrier']);
      await reader.close();
    });

    it('I15: refuses what is too large', async () => {
      const log = await opened();
      const { lastSeq } = await log.identity();
      const result = await append(log, 'large', { data: new Uint8Array(log.maxMessageBytes + 1) });
      expect(result.type === 'refused' ? codeOf(result.error) : result.type).toBe('MESSAGE_TOO_LARGE');
      expect(await append(log, 'largest', { data: new Uint8Array(log.maxMessageBytes) })).toMatchObject({
        type: 'stored',
      });
      expect((await log.identity()).lastSeq).toBe(lastSeq + 1);
    });
  });
}

export function describeLostConnection(harness: () => LogHarness): void {
  describe('a lost connection', () => {
    it('I3: ends an append that has less time than the others before them', async () => {
      const log = await openedOf(harness());
      const [seq = 0] = await fill(log, ['before']);
      const mend = await harness().stall();
      const order: string[] = [];
      const sent = [undefined, 50, 10_000_000].map(async (timeoutMs, index) => {
        const result = await append(log, `a${index}`, timeoutMs === undefined ? {} : { timeoutMs });
        order.push(`a${index}`);
        return result;
      });
      expect((await Promise.race(sent)).type).toBe('unknown');
      expect(order).toEqual(['a1']);
      await mend();
      // The others are stored, or out of time; the impatient one may be stored as well.
      await Promise.all(sent);
      expect((await log.get(seq))?.seq).toBe(seq);
      expect((await append(log, 'b', { timeoutMs: 0 })).type).toBe('refused');
      expect((await append(log, 'b', { timeoutMs: 5000 })).type).toBe('stored');
    });

    it('I3: settles every append, says nothing wrong, and resumes automatically', async () => {
      const log = await openedOf(harness());
      const states: string[] = [];
      const stopListening = log.onConnection((state) => states.push(state));
      const { generation } = await log.identity();
      const [firstSeq = 0] = await fill(log, ['before']);
      const mend = await harness().interrupt();
      const results = await Promise.all(numbers('during', 3).map((id) => append(log, id)));
      for (const result of results) expect(['refused', 'unknown']).toContain(result.type);
      const question = await log.identity().then(() => 'answered', codeOf);
      expect(question).toBe('LOG_UNAVAILABLE');
      await mend();
      const lastSeq = await appendSurely(log, 'after');
      expect(states[0]).toBe('disconnected');
      expect(states.at(-1)).toBe('connected');
      stopListening();
      const reader = await log.read({ generation, fromSeq: firstSeq });
      const contents = (await readTo(reader, lastSeq)).map(({ data }) => text(data));
      expect(contents.at(0)).toBe('before');
      expect(contents.at(-1)).toBe('after');
      for (const [index, result] of results.entries()) {
        if (result.type === 'refused') expect(contents).not.toContain(`during${index + 1}`);
      }
      await reader.close();
    });
  });
}

export async function openedOf(harness: LogHarness): Promise<Log> {
  const log = await harness.connect();
  await log.open({ create: true });
  return log;
}
