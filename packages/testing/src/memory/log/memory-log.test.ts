import type { AppendResult, Log } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Random } from '../../clock/random.js';
import { VirtualClock } from '../../clock/virtual-clock.js';
import { Faults, type FaultRates } from '../../faults/faults.js';
import type { Link } from '../link.js';
import { memoryLog, type MemoryLog } from './memory-log.js';

interface Setup {
  readonly clock: VirtualClock;
  readonly faults: Faults;
  readonly shared: MemoryLog;
  readonly log: Log & { readonly link: Link };
}

async function setup(rates: Partial<FaultRates> = {}): Promise<Setup> {
  const clock = new VirtualClock();
  const faults = new Faults(new Random(3), { minLatencyMs: 1, maxLatencyMs: 20 });
  const shared = memoryLog({ clock, faults });
  const log = shared.connect();
  await clock.run(log.open({ create: true }));
  faults.set(rates);
  return { clock, faults, shared, log };
}

function append(log: Log, id: string): Promise<AppendResult> {
  return new Promise((resolve) => log.append({ origin: 'a', id, data: Buffer.from(id) }, resolve));
}

const contents = ({ shared }: Setup): readonly string[] =>
  shared.entries().map(({ data }) => Buffer.from(data).toString());

describe('faults of the in-memory log', () => {
  it('leaves holes: later ones are stored although earlier ones were lost', async () => {
    const all = await setup();
    const { log, clock, faults } = all;
    const results = [append(log, '1')];
    faults.set({ lostAppend: 1 });
    results.push(append(log, '2'));
    faults.set({ lostAppend: 0 });
    results.push(append(log, '3'));
    expect((await clock.run(Promise.all(results))).map(({ type }) => type)).toEqual([
      'stored',
      'unknown',
      'stored',
    ]);
    expect(contents(all)).toEqual(['1', '3']);
  });

  it('stores without an answer, late, and twice', async () => {
    const silent = await setup({ lostAppendReply: 1 });
    expect((await silent.clock.run(append(silent.log, '1'))).type).toBe('unknown');
    expect(contents(silent)).toEqual(['1']);

    const late = await setup({ lateAppend: 1 });
    expect((await late.clock.run(append(late.log, '1'))).type).toBe('unknown');
    expect(contents(late)).toEqual([]);
    await late.clock.advance(10_000);
    expect(contents(late)).toEqual(['1']);

    const twice = await setup({ duplicatedAppend: 1 });
    expect(await twice.clock.run(append(twice.log, '1'))).toEqual({
      type: 'stored',
      seq: 1,
      duplicate: false,
    });
    expect(contents(twice)).toEqual(['1', '1']);
  });

  it('keeps the order of a connection whatever the latency', async () => {
    const all = await setup();
    const ids = Array.from({ length: 50 }, (_, index) => String(index));
    await all.clock.run(Promise.all(ids.map((id) => append(all.log, id))));
    expect(contents(all)).toEqual(ids);
  });

  it('forgets ids after the dedupe window', async () => {
    const all = await setup();
    await all.clock.run(append(all.log, '1'));
    expect(await all.clock.run(append(all.log, '1'))).toMatchObject({ duplicate: true });
    await all.clock.advance(130_000);
    expect(await all.clock.run(append(all.log, '1'))).toEqual({ type: 'stored', seq: 2, duplicate: false });
  });

  it('loses what is under way when the connection breaks, and says that it does not know', async () => {
    const { log, clock, shared } = await setup();
    const result = append(log, '1');
    log.link.disconnect();
    expect((await clock.run(result)).type).toBe('unknown');
    expect(shared.entries()).toEqual([]);
    expect((await clock.run(append(log, '2'))).type).toBe('refused');
  });

  it('never calls a killed process back, though its messages may arrive', async () => {
    const { log, clock, shared } = await setup();
    let called = false;
    log.append({ origin: 'a', id: '1', data: Buffer.from('1') }, () => (called = true));
    log.link.kill();
    await clock.advance(10_000);
    expect(called).toBe(false);
    expect(shared.entries()).toHaveLength(1);
  });

  it('notices a log that lost its end', async () => {
    const { log, clock, shared } = await setup();
    const { generation } = await clock.run(log.identity());
    for (const id of ['1', '2', '3']) await clock.run(append(log, id));
    const reader = await clock.run(log.read({ generation, fromSeq: 4 }));
    const waiting = reader.next({ maxEntries: 1, maxBytes: 1 }).catch((error: unknown) => error);
    shared.loseTail(2);
    expect(await clock.run(waiting)).toMatchObject({ code: 'LOG_REPLACED' });
  });
});

describe('expectations of the in-memory log', () => {
  it('I2: refuse what arrives late when its place is taken, and take it when it is not', async () => {
    const all = await setup();
    const { log, clock, faults, shared } = all;
    const expecting = (id: string, expectedLastSeqOfOrigin: number): Promise<AppendResult> =>
      clock.run(
        new Promise((resolve) =>
          log.append({ origin: 'a', id, data: Buffer.from(id), expectedLastSeqOfOrigin }, resolve),
        ),
      );
    faults.set({ lateAppend: 1 });
    expect((await expecting('late', 0)).type).toBe('unknown');
    faults.set({ lateAppend: 0 });
    expect(await expecting('fence', 0)).toMatchObject({ type: 'stored', seq: 1 });
    await clock.advance(10_000);
    expect(contents(all)).toEqual(['fence']);
    expect(await expecting('late', 0)).toMatchObject({ type: 'refused', lastSeqOfOrigin: 1 });

    faults.set({ lateAppend: 1 });
    expect((await expecting('late too', 1)).type).toBe('unknown');
    faults.set({ lateAppend: 0 });
    await clock.advance(10_000);
    expect(await expecting('rival', 1)).toMatchObject({ type: 'refused', lastSeqOfOrigin: 2 });
    // Long after the ids were forgotten.
    await clock.advance(130_000);
    expect(await expecting('late too', 1)).toEqual({ type: 'stored', seq: 2, duplicate: true });
    faults.set({ duplicatedAppend: 1 });
    expect(await expecting('once', 2)).toMatchObject({ type: 'stored', seq: 3 });
    expect(shared.entries()).toHaveLength(3);
  });

  it('I3: end with the time limit of the append, the log’s own when that is shorter', async () => {
    const { log, clock } = await setup({ lostAppend: 1 });
    const endsAfter = async (timeoutMs: number): Promise<number> => {
      const startMs = clock.monotonicMs();
      const request = { origin: 'a', id: `${timeoutMs}`, data: Buffer.from(''), timeoutMs };
      await clock.run(new Promise((resolve) => log.append(request, resolve)));
      return clock.monotonicMs() - startMs;
    };
    expect(await endsAfter(50)).toBe(50);
    expect(await endsAfter(60_000)).toBe(2000);
  });
});
