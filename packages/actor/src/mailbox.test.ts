import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import { Envelope } from './envelope.js';
import { ActorSystem, type MailboxOptions } from './index.js';
import { Lane, Mailbox } from './mailbox.js';

interface Replica {
  write(index: number): string;
  apply(index: number): string;
  seal(): string;
  hold(): void;
}

const mailbox: MailboxOptions<Replica> = {
  lanes: {
    control: { weight: 1, capacity: 10 },
    write: { weight: 3, capacity: 700 },
    apply: { weight: 2, capacity: 700 },
  },
  laneOf: { write: 'write', apply: 'apply', seal: 'control', hold: 'control' },
};

/**
 * An actor that keeps to its first message until `release` is called, and logs what it handles
 * then.
 */
async function saturated() {
  const clock = new ManualClock();
  const system = new ActorSystem({ clock });
  const handled: string[] = [];
  let release = (): void => undefined;
  const log = (entry: string): string => (handled.push(entry), entry);
  const ref = system.spawn<Replica>(
    'replica',
    () => ({
      receive: {
        write: (index) => log(`write ${index}`),
        apply: (index) => log(`apply ${index}`),
        seal: () => log('seal'),
        hold: () => new Promise<void>((resolve) => (release = resolve)),
      },
    }),
    { mailbox },
  );
  ref.tell('hold');
  await idle();
  return { ref, handled, release: () => release() };
}

const count = (handled: readonly string[], lane: string) =>
  handled.filter((entry) => entry.startsWith(lane)).length;

describe('lanes', () => {
  it('share the turns by weight while all are busy: no lane starves', async () => {
    const { ref, handled, release } = await saturated();
    for (let index = 0; index < 600; index++) {
      ref.tell('write', index);
      ref.tell('apply', index);
    }
    release();
    await idle();
    // 3 writes and 2 applies a round, exactly, in every window of whole rounds.
    for (let start = 0; start < 1000; start += 5) {
      const window = handled.slice(start, start + 5);
      expect([count(window, 'write'), count(window, 'apply')]).toEqual([3, 2]);
    }
    expect([count(handled, 'write'), count(handled, 'apply')]).toEqual([600, 600]);
  });

  it('let a rare message through within one round of a flood', async () => {
    const { ref, handled, release } = await saturated();
    for (let index = 0; index < 700; index++) ref.tell('apply', index);
    release();
    ref.tell('seal');
    ref.tell('write', 0);
    await idle();
    expect(handled.indexOf('seal')).toBeLessThanOrEqual(3);
    expect(handled.indexOf('write 0')).toBeLessThanOrEqual(4);
  });

  it('keep the order within a lane', async () => {
    const { ref, handled, release } = await saturated();
    for (let index = 0; index < 500; index++) ref.tell(index % 3 === 0 ? 'write' : 'apply', index);
    release();
    await idle();
    for (const lane of ['write', 'apply']) {
      const order = handled
        .filter((entry) => entry.startsWith(lane))
        .map((entry) => Number(entry.split(' ')[1]));
      expect(order).toEqual([...order].sort((left, right) => left - right));
    }
  });

  it('share by weight for any weights and any fill (property)', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 20 }), (shares, rounds) => {
        const names = shares.map((_, index) => `lane${index}`);
        const box = new Mailbox({
          lanes: Object.fromEntries(shares.map((weight, index) => [`lane${index}`, { weight }])),
          laneOf: Object.fromEntries(names.map((name) => [name, name])),
        });
        for (const [index, name] of names.entries()) {
          for (let n = 0; n < rounds * shares[index]!; n++)
            box.laneOf(name)?.push(new Envelope(name, n, 'a'));
        }
        const total = shares.reduce((sum, weight) => sum + weight, 0);
        for (let round = 0; round < rounds; round++) {
          const taken = Array.from({ length: total }, () => box.take()?.type);
          expect(names.map((name) => taken.filter((type) => type === name).length)).toEqual(shares);
        }
        expect(box.take()).toBeUndefined();
      }),
    );
  });
});

describe('a full lane', () => {
  it('refuses the next message, and only that lane does', async () => {
    const { ref, handled, release } = await saturated();
    for (let index = 0; index < 700; index++) expect(ref.tell('write', index)).toBe(true);
    expect(ref.tell('write', 700)).toBe(false);
    await expect(ref.ask('write', 701)).rejects.toMatchObject({ code: 'OVERLOADED', retriable: true });
    expect(ref.tell('apply', 0)).toBe(true);
    expect(ref.stats).toMatchObject({ waiting: 701, dropped: 2 });
    release();
    await idle();
    expect(count(handled, 'write')).toBe(700);
    expect(await ref.ask('write', 702)).toBe('write 702');
  });

  it('does not grow with asks that give up', async () => {
    const { ref } = await saturated();
    for (let round = 0; round < 3; round++) {
      const controller = new AbortController();
      const asks = Array.from({ length: 700 }, () => ref.ask('write', 0, { signal: controller.signal }));
      controller.abort();
      await Promise.allSettled(asks);
      expect(ref.stats.waiting).toBe(700);
    }
  });
});

describe('bad options', () => {
  const open = (options: MailboxOptions<never>) => () => new Mailbox(options);
  it('are refused', () => {
    expect(open({ lanes: {}, laneOf: {} })).toThrow('at least one lane');
    expect(open({ lanes: { a: { weight: 0 } }, laneOf: {} })).toThrow('weight of lane a is 0');
    expect(open({ lanes: { a: { capacity: 1.5 } }, laneOf: {} })).toThrow('capacity of lane a');
    expect(open({ lanes: { a: {} }, laneOf: { write: 'b' } })).toThrow('lane b, which is not declared');
  });
});

describe('a lane', () => {
  it('behaves as a plain list does, whatever is pushed, taken and withdrawn (property)', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ op: fc.constant('push' as const), type: fc.constantFrom('a', 'b') }),
      },
      { weight: 3, arbitrary: fc.record({ op: fc.constant('shift' as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ op: fc.constant('take' as const), limit: fc.integer({ min: 0, max: 5 }) }),
      },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('withdraw' as const), at: fc.nat(20) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 0, max: 3000 }), (steps, before) => {
        const lane = new Lane('all', 1, 100_000);
        let model: Envelope[] = [];
        const push = (type: string): void => {
          const envelope = new Envelope(type, model.length, 'a');
          model.push(envelope);
          lane.push(envelope);
        };
        // Enough to reach the point where the lane frees its handled half.
        for (let index = 0; index < before; index++) push('b');
        for (let index = 0; index < before - 3; index++) expect(lane.shift()).toBe(model.shift());
        for (const next of steps) {
          if (next.op === 'push') push(next.type);
          else if (next.op === 'shift') expect(lane.shift()).toBe(model.shift());
          else if (next.op === 'withdraw') {
            model[next.at]?.withdraw();
            model = model.filter((envelope) => !envelope.settled);
          } else {
            const taken = model.filter((envelope) => envelope.type === 'a').slice(0, next.limit);
            expect(lane.takeType('a', next.limit)).toEqual(taken);
            model = model.filter((envelope) => !taken.includes(envelope));
          }
          expect(lane.waiting).toBeGreaterThanOrEqual(model.length);
        }
        for (const envelope of model) expect(lane.shift()).toBe(envelope);
        expect(lane.shift()).toBeUndefined();
        expect(lane.waiting).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
