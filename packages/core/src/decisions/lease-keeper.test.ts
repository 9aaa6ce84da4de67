import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KeeperState } from '../model/keeper-state.js';
import type { LeaseEntry } from '../ports/lease.js';
import {
  isLeaseValid,
  keeperOf,
  keeperStep,
  keeperTakenOver,
  keeperTask,
  type KeeperEvent,
} from './lease-keeper.js';

const SETTINGS = { leaseMs: 2000, renewMs: 500, marginMs: 250 };

function after(
  events: readonly KeeperEvent[],
  begin = keeperOf('me', SETTINGS, { expectedSeq: 4 }),
): KeeperState {
  return events.reduce(keeperStep, begin);
}

function entry(seq: number, n: number, instance = 'me'): LeaseEntry {
  return { seq, record: { epoch: 1, holder: 'r', instance, leaseMs: 2000, n } };
}

const SENT: KeeperEvent = { type: 'sent', atMs: 1000 };
const TAKEN: KeeperEvent = { type: 'taken', n: 1, seq: 5, atMs: 1010 };

describe('the keeper of a lease', () => {
  it('takes it at once, and holds nothing before', () => {
    const state = after([]);
    expect(keeperTask(state, 0)).toEqual({ type: 'renew', n: 1, expectedSeq: 4 });
    expect(isLeaseValid(state, 0)).toBe(false);
    expect(isLeaseValid(after([SENT]), 1001)).toBe(false);
    expect(keeperTask(after([SENT]), 1001)).toEqual({ type: 'wait', untilMs: Infinity });
  });

  it('holds it from when it was sent, and renews it in time', () => {
    const state = after([SENT, TAKEN]);
    expect(isLeaseValid(state, 2749)).toBe(true);
    expect(isLeaseValid(state, 2750)).toBe(false);
    expect(keeperTask(state, 1010)).toEqual({ type: 'wait', untilMs: 1500 });
    expect(keeperTask(state, 1500)).toEqual({ type: 'renew', n: 2, expectedSeq: 5 });
    const renewed = after(
      [
        { type: 'sent', atMs: 1500 },
        { type: 'taken', n: 2, seq: 9, atMs: 1600 },
      ],
      state,
    );
    expect(isLeaseValid(renewed, 3249)).toBe(true);
    expect(keeperTask(renewed, 2000)).toEqual({ type: 'renew', n: 3, expectedSeq: 9 });
  });

  it('reads what became of an attempt without an answer, and holds what it held', () => {
    const unknown = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }, { type: 'unknown', n: 2, atMs: 2000 }]);
    expect(keeperTask(unknown, 2000)).toEqual({ type: 'read' });
    expect(isLeaseValid(unknown, 2749)).toBe(true);
    const found = after([{ type: 'read', entry: entry(6, 2), atMs: 2010 }], unknown);
    expect(isLeaseValid(found, 3249)).toBe(true);
    expect(keeperTask(found, 2010)).toEqual({ type: 'renew', n: 3, expectedSeq: 6 });
    const absent = after([{ type: 'read', entry: entry(5, 1), atMs: 2010 }], unknown);
    expect(isLeaseValid(absent, 2749)).toBe(true);
    expect(isLeaseValid(absent, 2750)).toBe(false);
    expect(keeperTask(absent, 2010)).toEqual({ type: 'wait', untilMs: 2110 });
    expect(keeperTask(absent, 2110)).toEqual({ type: 'renew', n: 3, expectedSeq: 5 });
  });

  it('reads nothing for an attempt of which another thread has found out what became of it', () => {
    const sent = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }]);
    const takenOver = after([{ type: 'read', entry: entry(6, 2), atMs: 1700 }], keeperTakenOver(sent));
    const back = keeperTakenOver(takenOver);
    expect(after([{ type: 'unknown', n: 2, atMs: 2000 }], back)).toEqual(back);
  });

  it('reads again after a pause when there is no answer', () => {
    const state = after([SENT, { type: 'unknown', n: 1, atMs: 1500 }, { type: 'unread', atMs: 1600 }]);
    expect(keeperTask(state, 1600)).toEqual({ type: 'wait', untilMs: 1700 });
    expect(keeperTask(state, 1700)).toEqual({ type: 'read' });
  });

  it('holds nothing once it is refused, and it is lost when somebody else has it', () => {
    const refused = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }, { type: 'lost', n: 2, atMs: 1510 }]);
    expect(isLeaseValid(refused, 1511)).toBe(false);
    expect(keeperTask(refused, 1511)).toEqual({ type: 'read' });
    const lost = after([{ type: 'read', entry: entry(7, 1, 'other'), atMs: 1520 }], refused);
    expect(keeperTask(lost, 1520)).toEqual({ type: 'lost' });
    const late = after([{ type: 'taken', n: 2, seq: 8, atMs: 1530 }], lost);
    expect(isLeaseValid(late, 1531)).toBe(false);
    expect(keeperTask(late, 9999)).toEqual({ type: 'lost' });
  });

  it('holds it again when it was refused for an attempt of its own that came late', () => {
    const refused = after([
      ...[SENT, TAKEN, { type: 'sent', atMs: 1500 } as const, { type: 'unknown', n: 2, atMs: 2000 } as const],
      ...[{ type: 'read', entry: entry(5, 1), atMs: 2010 } as const, { type: 'sent', atMs: 2110 } as const],
      { type: 'lost', n: 3, atMs: 2120 },
    ]);
    expect(isLeaseValid(refused, 2121)).toBe(false);
    const found = after([{ type: 'read', entry: entry(6, 2), atMs: 2130 }], refused);
    expect(isLeaseValid(found, 3249)).toBe(true);
    expect(isLeaseValid(found, 3250)).toBe(false);
    expect(keeperTask(found, 2130)).toEqual({ type: 'renew', n: 4, expectedSeq: 6 });
  });

  it('takes it anew behind what somebody has deleted', () => {
    const refused = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }, { type: 'lost', n: 2, atMs: 1510 }]);
    const empty = after([{ type: 'read', entry: { seq: 0, record: undefined }, atMs: 1520 }], refused);
    expect(isLeaseValid(empty, 1521)).toBe(true);
    expect(keeperTask(empty, 1620)).toEqual({ type: 'renew', n: 3, expectedSeq: 0 });
  });
});

describe('a lease that another thread goes on with', () => {
  it('is held as before, and gets numbers that nobody else gives', () => {
    const taken = after([SENT, TAKEN]);
    const next = keeperTakenOver(taken);
    expect(isLeaseValid(next, 2749)).toBe(true);
    expect(keeperTask(next, 1500)).toEqual({ type: 'renew', n: 3, expectedSeq: 5 });
  });

  it('is read first when an answer was awaited', () => {
    const awaited = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }]);
    const next = keeperTakenOver(awaited);
    expect(keeperTask(next, 1600)).toEqual({ type: 'read' });
    const found = after([{ type: 'read', entry: entry(6, 2), atMs: 1610 }], next);
    expect(isLeaseValid(found, 3249)).toBe(true);
    expect(keeperTask(found, 2000)).toEqual({ type: 'renew', n: 4, expectedSeq: 6 });
  });

  it('stays held when the refusal comes of an attempt before one that was taken', () => {
    const state = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }]);
    const renewed = after(
      [
        { type: 'read', entry: entry(5, 1), atMs: 1600 },
        { type: 'sent', atMs: 1700 },
        { type: 'taken', n: 4, seq: 6, atMs: 1710 },
        { type: 'lost', n: 2, atMs: 1720 },
      ],
      keeperTakenOver(state),
    );
    expect(isLeaseValid(renewed, 3449)).toBe(true);
  });

  it('goes on behind what the other one sent last', () => {
    const state = after([SENT, TAKEN, { type: 'sent', atMs: 1500 }, { type: 'lost', n: 2, atMs: 1510 }]);
    const read = after([{ type: 'read', entry: entry(6, 3), atMs: 1520 }], state);
    expect(keeperTask(read, 1620)).toEqual({ type: 'renew', n: 4, expectedSeq: 6 });
  });
});

/** A lease that loses answers, and takes what was sent late or never; and a rival who waits. */
class World {
  state = keeperOf('me', SETTINGS, { expectedSeq: 0 });
  nowMs = 0;
  stored: LeaseEntry = { seq: 0, record: undefined };
  storedAtMs = 0;
  readonly #late: { readonly atMs: number; readonly n: number; readonly expectedSeq: number }[] = [];

  /** One step of the holder; `fault`: 0 none, 1 lost, 2 its answer is lost, 3 late. */
  act(fault: number, delayMs: number): void {
    const task = keeperTask(this.state, this.nowMs);
    if (task.type === 'renew') this.#renew(task, fault, delayMs);
    else if (task.type === 'read') {
      this.#pass(delayMs);
      const { nowMs: atMs, stored } = this;
      this.#step(fault === 1 ? { type: 'unread', atMs } : { type: 'read', entry: stored, atMs });
    } else this.#pass(delayMs);
  }

  /**
   * Another thread goes on. The one before may send what it was about to send: what comes of that
   * nobody hears.
   */
  takeOver(sendsOnce: boolean): void {
    const task = keeperTask(this.state, this.nowMs);
    this.state = keeperTakenOver(this.state);
    if (sendsOnce && task.type === 'renew') this.#store(task.expectedSeq, 'me', task.n);
  }

  /** It takes the lease when it has seen the same one for as long as it lasts. */
  rival(): void {
    if (this.nowMs - this.storedAtMs >= SETTINGS.leaseMs) this.#store(this.stored.seq, 'rival', 1);
  }

  #renew({ n, expectedSeq }: { n: number; expectedSeq: number }, fault: number, delayMs: number): void {
    this.#step({ type: 'sent', atMs: this.nowMs });
    if (fault === 3) this.#late.push({ atMs: this.nowMs + 4 * delayMs, n, expectedSeq });
    this.#pass(delayMs);
    const seq = fault === 0 || fault === 2 ? this.#store(expectedSeq, 'me', n) : undefined;
    this.#pass(delayMs);
    const { nowMs: atMs } = this;
    if (fault !== 0) this.#step({ type: 'unknown', n, atMs });
    else this.#step(seq === undefined ? { type: 'lost', n, atMs } : { type: 'taken', n, seq, atMs });
  }

  #step(event: KeeperEvent): void {
    this.state = keeperStep(this.state, event);
  }

  #pass(ms: number): void {
    this.nowMs += ms;
    for (const late of this.#late.splice(0))
      if (late.atMs > this.nowMs) this.#late.push(late);
      else this.#store(late.expectedSeq, 'me', late.n);
  }

  #store(expectedSeq: number, instance: string, n: number): number | undefined {
    if (expectedSeq !== this.stored.seq) return undefined;
    this.stored = entry(expectedSeq + 1, n, instance);
    this.storedAtMs = this.nowMs;
    return this.stored.seq;
  }
}

describe('a lease in an unreliable world', () => {
  const MOVES = fc.array(
    fc.record({
      rival: fc.boolean(),
      fault: fc.nat(3),
      delayMs: fc.oneof(fc.nat(50), fc.nat(1500)),
      takenOver: fc.option(fc.boolean(), { freq: 3 }),
    }),
    { maxLength: 60 },
  );

  it('is never held by one who thinks so while another has it', () => {
    fc.assert(
      fc.property(MOVES, (moves) => {
        const world = new World();
        for (const { rival, fault, delayMs, takenOver } of moves) {
          if (rival) world.rival();
          if (takenOver !== null) world.takeOver(takenOver);
          world.act(fault, delayMs);
          const holder = world.stored.record?.instance;
          if (isLeaseValid(world.state, world.nowMs)) expect(holder).toBe('me');
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('is held again soon once all is well, unless another has it', () => {
    fc.assert(
      fc.property(MOVES, (moves) => {
        const world = new World();
        for (const { fault, delayMs, takenOver } of moves) {
          if (takenOver !== null) world.takeOver(takenOver);
          world.act(fault, delayMs);
        }
        // What is late has come by then.
        for (let turn = 0; turn < 700; turn++) world.act(0, 10);
        expect(isLeaseValid(world.state, world.nowMs)).toBe(true);
      }),
    );
  });
});
