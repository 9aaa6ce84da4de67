import type { Lease, LeaseRecord, LeaseTake } from '@antiphon/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../eventually.js';
import { codeOf } from './error-code.js';
import { bytes } from './log/use.js';

export interface LeaseHarness {
  /** Another connection to the same lease, as another process would have. */
  connect(): Promise<Lease>;
  /** Nobody reaches it any more until what comes back is called. What is stored stays. */
  interrupt(): Promise<() => Promise<void>>;
  /** It answers nobody until what comes back is called. Nothing gets lost. */
  stall(): Promise<() => Promise<void>>;
  /** Somebody publishes something else where the lease is. */
  publish(data: Uint8Array): Promise<void>;
  /** Somebody deletes what the lease holds. */
  purge(): Promise<void>;
  /** Somebody deletes the lease. */
  remove(): Promise<void>;
  dispose(): Promise<void>;
}

/** One that lasts longer than any server takes to answer. */
const RECORD: LeaseRecord = { epoch: 3, holder: 'r1', instance: 'i1', leaseMs: 5000, n: 1 };
const RIVAL: LeaseRecord = { ...RECORD, holder: 'r2', instance: 'i2' };
const ROUNDS = 50;

/** Two connections, of one process each. */
interface Pair {
  readonly harness: LeaseHarness;
  readonly one: Lease;
  readonly two: Lease;
}

/** Everything that a Lease must do, as a vitest suite. */
export function leaseConformance(name: string, makeHarness: () => Promise<LeaseHarness>): void {
  describe(`lease conformance: ${name}`, () => {
    let pair: Pair | undefined;
    const current = (): Pair => {
      if (pair === undefined) throw new Error('the leases exist inside of tests only');
      return pair;
    };
    beforeEach(async () => {
      const harness = await makeHarness();
      pair = { harness, one: await harness.connect(), two: await harness.connect() };
      await Promise.all([pair.one.open(), pair.two.open()]);
    });
    afterEach(async () => {
      await pair?.harness.dispose();
      pair = undefined;
    });

    describeTaking(current);
    describeHearing(current);
    describeDamage(current);
    describeTrouble(current);
  });
}

function seqOf(take: LeaseTake): number {
  if (take.type === 'taken') return take.seq;
  throw take.type === 'unknown' ? take.error : new Error('the lease is lost');
}

function describeTaking(pair: () => Pair): void {
  it('belongs to nobody at first, and then to whoever takes it', async () => {
    const { one, two } = pair();
    expect(await one.read()).toEqual({ seq: 0, record: undefined });
    const seq = seqOf(await one.take(RECORD, 0));
    expect(seq).toBeGreaterThan(0);
    for (const lease of [one, two]) expect(await lease.read()).toEqual({ seq, record: RECORD });
  });

  it('is renewed by whoever knows its newest entry', async () => {
    const { one, two } = pair();
    const first = seqOf(await one.take(RECORD, 0));
    const second = seqOf(await one.take({ ...RECORD, n: 2 }, first));
    expect(second).toBeGreaterThan(first);
    expect(await two.take(RIVAL, first)).toEqual({ type: 'lost' });
    expect(await two.take(RIVAL, 0)).toEqual({ type: 'lost' });
    expect(await two.take(RIVAL, second + 1)).toEqual({ type: 'lost' });
    expect(await two.read()).toEqual({ seq: second, record: { ...RECORD, n: 2 } });
    const third = seqOf(await two.take(RIVAL, second));
    expect(await one.take({ ...RECORD, n: 3 }, second)).toEqual({ type: 'lost' });
    expect(await one.read()).toEqual({ seq: third, record: RIVAL });
  });

  it('goes to exactly one of those who take it at once', async () => {
    const { harness, one, two } = pair();
    const leases = [one, two, await harness.connect()];
    for (let round = 1, seq = 0; round <= ROUNDS; round++) {
      const takes = await Promise.all(
        leases.map(async (lease, index) => {
          const record = { ...RECORD, holder: `r${index}`, instance: `i${index}`, n: round };
          return { record, take: await lease.take(record, seq) };
        }),
      );
      const winners = takes.filter(({ take }) => take.type === 'taken');
      expect(takes.filter(({ take }) => take.type === 'lost')).toHaveLength(leases.length - 1);
      expect(winners).toHaveLength(1);
      for (const { record, take } of winners) {
        seq = seqOf(take);
        expect(await one.read()).toEqual({ seq, record });
      }
    }
  });

  it('takes no record that nobody could read', async () => {
    const { one } = pair();
    const refused = (record: LeaseRecord, seq = 0): Promise<string> =>
      one.take(record, seq).then(() => 'taken', codeOf);
    expect(await refused({ ...RECORD, n: 0 })).toBe('BAD_OPTION');
    expect(await refused({ ...RECORD, holder: '' })).toBe('BAD_OPTION');
    expect(await refused({ ...RECORD, leaseMs: 1.5 })).toBe('BAD_OPTION');
    expect(await refused(RECORD, -1)).toBe('BAD_OPTION');
    expect(await one.read()).toEqual({ seq: 0, record: undefined });
  });
}

/** A subscription is known to the others after a while only. Returns the last one taken. */
async function takenUntilHeard({ one }: Pair, heard: readonly LeaseRecord[]): Promise<LeaseRecord> {
  const { seq, record } = await one.read();
  let [at, last] = [seq, record ?? { ...RECORD, n: 0 }];
  await eventually('a renewal is heard', async () => {
    if (heard.length > 0) return true;
    last = { ...last, n: last.n + 1 };
    at = seqOf(await one.take(last, at));
    return false;
  });
  return last;
}

function describeHearing(pair: () => Pair): void {
  it('tells those who listen who takes it, also when it is refused', async () => {
    const { one, two } = pair();
    const heard: LeaseRecord[] = [];
    const alsoHeard: LeaseRecord[] = [];
    const stop = two.onRenewal((record) => heard.push(record));
    two.onRenewal((record) => alsoHeard.push(record));
    const last = await takenUntilHeard(pair(), heard);
    const { seq } = await one.read();
    expect(await one.take(RIVAL, seq + 7)).toEqual({ type: 'lost' });
    await eventually('the refused one is heard', () => heard.some(({ instance }) => instance === 'i2'));
    expect(alsoHeard.length).toBe(heard.length);
    stop();
    stop();
    const count = heard.length;
    await one.take({ ...last, n: last.n + 1 }, seq);
    await eventually('the other one hears on', () => alsoHeard.length > count);
    expect(heard.length).toBe(count);
  });

  it('is silent once it is closed', async () => {
    const { one, two } = pair();
    const heard: LeaseRecord[] = [];
    two.onRenewal((record) => heard.push(record));
    await takenUntilHeard(pair(), heard);
    await two.close();
    await two.close();
    const count = heard.length;
    const control: LeaseRecord[] = [];
    one.onRenewal((record) => control.push(record));
    await takenUntilHeard(pair(), control);
    expect(heard.length).toBe(count);
    expect(await two.read().then(() => 'read', codeOf)).toBe('CLOSED');
    expect(await two.take(RIVAL, 0)).toMatchObject({ type: 'unknown', error: { code: 'CLOSED' } });
  });
}

function describeDamage(pair: () => Pair): void {
  it('belongs to nobody when what is there is no record of a lease', async () => {
    const { harness, one, two } = pair();
    const heard: LeaseRecord[] = [];
    two.onRenewal((record) => heard.push(record));
    await takenUntilHeard(pair(), heard);
    const { seq } = await one.read();
    const count = heard.length;
    await harness.publish(bytes('what is this'));
    const entry = await two.read();
    expect(entry).toEqual({ seq: seq + 1, record: undefined });
    const next = seqOf(await two.take(RIVAL, entry.seq));
    expect(await one.read()).toEqual({ seq: next, record: RIVAL });
    await eventually('the rival is heard', () => heard.at(-1)?.instance === 'i2');
    expect(heard.length).toBe(count + 1);
  });

  it('belongs to nobody when its messages were deleted, and is taken behind them', async () => {
    const { harness, one, two } = pair();
    const seq = seqOf(await one.take(RECORD, 0));
    await harness.purge();
    expect(await two.read()).toEqual({ seq, record: undefined });
    expect(await two.take(RIVAL, 0)).toEqual({ type: 'lost' });
    expect(seqOf(await two.take(RIVAL, seq))).toBe(seq + 1);
    expect((await one.read()).record).toEqual(RIVAL);
  });

  it('is made anew by whoever needs it when it was deleted', async () => {
    const { harness, one, two } = pair();
    const seq = seqOf(await one.take({ ...RECORD, n: 2 }, seqOf(await one.take(RECORD, 0))));
    await harness.remove();
    expect(await two.read()).toEqual({ seq: 0, record: undefined });
    expect(await one.take({ ...RECORD, n: 3 }, seq)).toEqual({ type: 'lost' });
    const first = seqOf(await two.take(RIVAL, 0));
    await harness.remove();
    expect(await two.take({ ...RIVAL, n: 2 }, first)).toEqual({ type: 'lost' });
    await harness.remove();
    expect(seqOf(await one.take(RECORD, 0))).toBeGreaterThan(0);
    expect((await two.read()).record).toEqual(RECORD);
  });
}

function describeTrouble(pair: () => Pair): void {
  it('does not know what became of a take without an answer, and reads it afterwards', async () => {
    const { harness, one, two } = pair();
    const seq = seqOf(await one.take(RECORD, 0));
    const mend = await harness.stall();
    const record = { ...RECORD, leaseMs: 100, n: 2 };
    expect(await one.take(record, seq)).toMatchObject({
      type: 'unknown',
      error: { code: expect.stringMatching(/^(TIMEOUT|LOG_UNAVAILABLE)$/) as string },
    });
    await mend();
    await eventually('it is there', async () => {
      const entry = await two.read().catch(() => undefined);
      return entry?.record?.instance === record.instance && entry.record.n === record.n;
    });
  });

  it('says when there is no answer, and works again afterwards', async () => {
    const { harness, one, two } = pair();
    const seq = seqOf(await one.take(RECORD, 0));
    const heard: LeaseRecord[] = [];
    two.onRenewal((record) => heard.push(record));
    const mend = await harness.interrupt();
    expect(await one.read().then(() => 'read', codeOf)).toBe('LOG_UNAVAILABLE');
    expect(await one.take({ ...RECORD, n: 2 }, seq)).toMatchObject({
      type: 'unknown',
      error: { code: 'LOG_UNAVAILABLE' },
    });
    await mend();
    const entry = await eventually('it answers again', () => two.read().catch(() => undefined));
    expect(entry).toEqual({ seq, record: RECORD });
    heard.splice(0);
    await takenUntilHeard(pair(), heard);
  });

  it('gives up with its caller', async () => {
    const { harness, one } = pair();
    const mend = await harness.stall();
    const reading = one.read(AbortSignal.timeout(20)).then(() => 'read', codeOf);
    expect(await reading).toBe('ABORTED');
    await mend();
  });
}
