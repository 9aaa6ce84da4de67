import {
  type KeeperEvent,
  keeperOf,
  type KeeperState,
  keeperStep,
  keeperTakenOver,
  type Lease,
  type LeaseRecord,
} from '@antiphon/core';
import { memoryLease, VirtualClock } from '@antiphon/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Made, StandingIn, type Told } from './standing-in.js';

const SETTINGS = { leaseMs: 2000, renewMs: 500, marginMs: 250 };
const RECORD: LeaseRecord = { epoch: 3, holder: 'a', instance: 'i', leaseMs: 2000, n: 0 };
const LIMIT_MS = 10_000;

function after(state: KeeperState, ...events: readonly KeeperEvent[]): KeeperState {
  return events.reduce(keeperStep, state);
}

function told(turn: number, state: KeeperState | undefined): Told {
  return { turn, standing: state && { record: RECORD, state } };
}

let clock: VirtualClock;
let lease: Lease;
let isBusy: boolean;
let made: Made[];
let standingIn: StandingIn;
/** What the holder knows when it has taken the lease at 0. */
let held: KeeperState;

beforeEach(async () => {
  clock = new VirtualClock();
  lease = memoryLease({ clock }).connect();
  isBusy = true;
  made = [];
  standingIn = new StandingIn({
    ...{ lease, limitMs: LIMIT_MS, clock },
    isBusy: () => isBusy,
    report: (one) => made.push(one),
  });
  const wanted = after(keeperOf('i', SETTINGS, { expectedSeq: 0 }), { type: 'sent', atMs: 0 });
  const take = await clock.run(lease.take({ ...RECORD, n: 1 }, 0));
  if (take.type !== 'taken') throw new Error(`the lease was not taken: ${take.type}`);
  held = after(wanted, { ...take, n: 1, atMs: 0 });
});

async function numberInLease(): Promise<number | undefined> {
  return (await clock.run(lease.read())).record?.n;
}

describe('who stands in for the holder of a lease', () => {
  it('lets it do so itself as long as it is in time', async () => {
    standingIn.tell(told(1, held));
    await clock.advance(740);
    expect(made).toEqual([]);
    expect(await numberInLease()).toBe(1);
  });

  it('renews the lease while a write keeps it, and says so', async () => {
    standingIn.tell(told(1, held));
    await clock.advance(3000);
    const newest = made.at(-1);
    expect(newest?.turn).toBe(1);
    expect(newest?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    expect(await numberInLease()).toBe(newest?.state.n);
    expect(newest?.state.n).toBeGreaterThan(5);
  });

  it('says in the lease for how long the write has kept it', async () => {
    expect((await clock.run(lease.read())).record?.writingMs).toBeUndefined();
    await clock.advance(1000);
    standingIn.tell(told(1, held));
    await clock.advance(5000);
    const { writingMs } = (await clock.run(lease.read())).record ?? {};
    expect(writingMs).toBeGreaterThan(4000);
    expect(writingMs).toBeLessThanOrEqual(5000);
  });

  it('does nothing for one that is late for another reason, and begins with a write', async () => {
    isBusy = false;
    standingIn.tell(told(1, held));
    await clock.advance(1500);
    expect(made).toEqual([]);
    isBusy = true;
    await clock.advance(130);
    expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(3000);
  });

  it('ends with the limit: who takes longer hangs', async () => {
    standingIn.tell(told(1, held));
    await clock.advance(LIMIT_MS + 5000);
    const last = made.at(-1)?.state.validUntilMs ?? 0;
    expect(last).toBeGreaterThan(LIMIT_MS);
    expect(last).toBeLessThan(clock.monotonicMs());
  });

  it('stops as soon as the holder speaks, or wants no lease', async () => {
    standingIn.tell(told(1, held));
    await clock.advance(1000);
    const newest = made.at(-1)?.state;
    standingIn.tell(told(2, newest));
    const before = made.length;
    await clock.advance(400);
    expect(made.length).toBe(before);
    standingIn.tell(told(3, undefined));
    await clock.advance(5000);
    expect(made.length).toBe(before);
  });

  it('finds out what became of an attempt whose answer the holder awaits', async () => {
    const sent = after(held, { type: 'sent', atMs: 500 });
    await clock.advance(500);
    const taking = lease.take({ ...RECORD, n: 2 }, held.expectedSeq);
    standingIn.tell(told(1, sent));
    await clock.advance(1000);
    expect(await taking).toMatchObject({ type: 'taken' });
    expect(made.map(({ state }) => state.standing)).not.toContain('doubtful');
    expect(made.at(-1)?.state).toMatchObject({ standing: 'held' });
  });

  it('takes nothing back from somebody else', async () => {
    standingIn.tell(told(1, held));
    await clock.run(lease.take({ ...RECORD, epoch: 4, holder: 'b', instance: 'j', n: 1 }, held.expectedSeq));
    await clock.advance(5000);
    expect(made.at(-1)?.state.standing).toBe('lost');
    expect((await clock.run(lease.read())).record?.holder).toBe('b');
  });

  describe('for a second time', () => {
    /** As the holder knows it when it has its thread back. */
    let back: KeeperState;
    beforeEach(async () => {
      standingIn.tell(told(1, held));
      await clock.advance(1600);
      const newest = made.at(-1)?.state;
      if (newest === undefined) throw new Error('nobody stood in');
      back = keeperTakenOver(newest);
      made = [];
    });

    it('does not, while the holder has turns and cannot renew it', async () => {
      standingIn.tell(told(2, back));
      standingIn.tell(told(3, after(back, { type: 'sent', atMs: clock.monotonicMs() })));
      await clock.advance(5000);
      expect(made.every(({ state }) => state.validUntilMs === back.validUntilMs)).toBe(true);
    });

    it('does, where an attempt of the holder in between has arrived', async () => {
      const sent = after(back, { type: 'sent', atMs: clock.monotonicMs() });
      await clock.run(lease.take({ ...RECORD, n: sent.n }, back.expectedSeq));
      standingIn.tell(told(2, sent));
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });

    it('does, where the attempt of the holder arrives after the first look', async () => {
      const sent = after(back, { type: 'sent', atMs: clock.monotonicMs() });
      standingIn.tell(told(2, sent));
      await clock.advance(900);
      await clock.run(lease.take({ ...RECORD, n: sent.n }, back.expectedSeq));
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });

    it('does, where the holder was kept again while it only read', async () => {
      standingIn.tell(told(2, { ...back, mustRead: true }));
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });

    it('does, where the holder has another connection than the one over which it tried', async () => {
      const sent = after(back, { type: 'sent', atMs: clock.monotonicMs() });
      const state = after(sent, { type: 'unknown', n: sent.n, atMs: clock.monotonicMs() });
      standingIn.tell({ turn: 2, standing: { record: RECORD, state, isReconnected: true } });
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });

    it('looks no further once another one has it', async () => {
      const sent = after(back, { type: 'sent', atMs: clock.monotonicMs() });
      standingIn.tell(told(2, sent));
      await clock.run(
        lease.take({ ...RECORD, epoch: 4, holder: 'b', instance: 'j', n: 1 }, back.expectedSeq),
      );
      await clock.advance(3000);
      expect(made.filter(({ state }) => state.standing === 'lost')).toHaveLength(1);
    });

    it('is not judged by the numbers of the lease before', async () => {
      standingIn.tell(told(2, undefined));
      const { seq } = await clock.run(lease.read());
      const wanted = after(keeperOf('i', SETTINGS, { expectedSeq: seq }), {
        type: 'sent',
        atMs: clock.monotonicMs(),
      });
      await clock.run(lease.take({ ...RECORD, n: 1 }, seq));
      standingIn.tell(told(3, wanted));
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });

    it('does, where the holder was kept again before it could try', async () => {
      standingIn.tell(told(2, back));
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });

    it('does, where the holder has renewed it', async () => {
      const atMs = clock.monotonicMs();
      const sent = after(back, { type: 'sent', atMs });
      const take = await clock.run(lease.take({ ...RECORD, n: sent.n }, back.expectedSeq));
      if (take.type !== 'taken') throw new Error(`the lease was not taken: ${take.type}`);
      standingIn.tell(told(2, after(sent, { ...take, n: sent.n, atMs })));
      await clock.advance(3000);
      expect(made.at(-1)?.state.validUntilMs).toBeGreaterThan(clock.monotonicMs() + 1000);
    });
  });
});
