import { AntiphonError, type Bus, type BusRequest } from '@antiphon/core';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../../test/manual-clock.js';
import { MemoryBus } from '../../test/memory-bus.js';
import { ActorSystem, exposeActor, msgpackCodec, remoteRef } from '../index.js';
import type { ActorRef, Behaviour, Exposure, NoReply, Received, Ref } from '../index.js';

interface Shop {
  find(request: { readonly key: number }): unknown;
}

const PREFIX = 'antiphon.shop.replica.eu-1';
const SUBJECT = `${PREFIX}.find`;

/** Remembers what was asked, and takes messages up to a limit, as a server does. */
class WatchedBus implements Bus {
  readonly #bus = new MemoryBus();
  maxPayload = Infinity;
  requests: unknown[] = [];
  replies: { readonly [name: string]: unknown }[] = [];

  publish(subject: string, data: Uint8Array): void {
    this.#bus.publish(subject, data);
  }

  async request(...[subject, data, options]: Parameters<Bus['request']>): Promise<Uint8Array> {
    this.#assertSize(data);
    this.requests.push(msgpackCodec.decode(data));
    return this.#bus.request(subject, data, options);
  }

  subscribe(...[subject, handler]: Parameters<Bus['subscribe']>): ReturnType<Bus['subscribe']> {
    const watched = ({ respond, ...request }: BusRequest): void =>
      handler({
        ...request,
        ...(respond && { respond: (data: Uint8Array) => this.#reply(data, respond) }),
      });
    return this.#bus.subscribe(subject, watched);
  }

  /** Requests by how many came in each message. */
  get sizes(): readonly number[] {
    return this.requests.map((request) => (Array.isArray(request) ? request.length : 1));
  }

  #reply(data: Uint8Array, respond: (data: Uint8Array) => void): void {
    this.#assertSize(data);
    this.replies.push(msgpackCodec.decode(data) as { readonly [name: string]: unknown });
    respond(data);
  }

  #assertSize(data: Uint8Array): void {
    if (data.length > this.maxPayload) throw new AntiphonError('MESSAGE_TOO_LARGE', 'Send less at once.');
  }
}

let bus: WatchedBus;
let clock: ManualClock;
let actor: ActorRef<Shop>;
let exposure: Exposure;
let remote: Ref<Shop>;
/** Answers come at once, unless a key has something else here. */
let answers: Map<number, Promise<unknown>>;

function shop(): Behaviour<Shop> {
  return {
    receive: {
      find: ({ key }, _, message: Received<Shop, 'find'>): NoReply => {
        void (answers.get(key) ?? Promise.resolve(key)).then(
          (value) => message.reply(value),
          (error: unknown) => message.reject(error as Error),
        );
        return message.defer();
      },
    },
  };
}

function expose(bundles: boolean): Exposure {
  const find = (input: unknown): { readonly key: number } => {
    const { key } = input as { readonly key: unknown };
    if (typeof key !== 'number') throw new TypeError('key must be a number');
    return { key };
  };
  return exposeActor(actor, bus, PREFIX, { find }, bundles ? { bundles: { commands: ['find'], clock } } : {});
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** A promise, and how to settle it. */
function later(key: number): { resolve(value: unknown): void; reject(error: Error): void } {
  let settle: { resolve(value: unknown): void; reject(error: Error): void } | undefined;
  answers.set(key, new Promise((resolve, reject) => (settle = { resolve, reject })));
  if (settle === undefined) throw new Error('a promise runs its function at once');
  return settle;
}

const find = (key: number, options = {}) => remote.ask('find', { key }, options);
const caught = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);
const request = (...keys: number[]) => msgpackCodec.encode(keys.map((key) => msgpackCodec.encode({ key })));

beforeEach(async () => {
  bus = new WatchedBus();
  clock = new ManualClock();
  answers = new Map();
  actor = new ActorSystem({ clock, name: 'test' }).spawn<Shop>('shop', shop);
  exposure = expose(true);
  const bundling = { commands: ['find'], clock };
  remote = remoteRef<Shop>(bus, PREFIX, { bundling, timeoutMs: 1000 });
  expect(await find(0)).toBe(0);
  bus.requests = [];
  bus.replies = [];
});

describe('asks of one turn', () => {
  it('are one message, and so are their replies', async () => {
    const asked = Array.from({ length: 64 }, (_, key) => find(key));
    expect(await Promise.all(asked)).toEqual(Array.from({ length: 64 }, (_, key) => key));
    expect(bus.sizes).toEqual([64]);
    expect(bus.replies).toHaveLength(1);
    expect(bus.replies[0]).not.toHaveProperty('rest');
    expect(exposure.stats).toEqual({ received: 65, refused: 0, dropped: 0, unsent: 0 });
  });

  it('go as single ones until the other side has said that it takes several', async () => {
    const other = remoteRef<Shop>(bus, PREFIX, { bundling: { commands: ['find'], clock } });
    await Promise.all([other.ask('find', { key: 1 }), other.ask('find', { key: 2 })]);
    expect(bus.requests).toEqual([{ key: 1 }, { key: 2 }]);
    expect(bus.replies).toEqual([
      { ok: 1, bundles: true },
      { ok: 2, bundles: true },
    ]);
    await Promise.all([other.ask('find', { key: 1 }), other.ask('find', { key: 2 })]);
    expect(bus.sizes).toEqual([1, 1, 2]);
  });

  it('include those that answers set off, and one that is alone goes as it is', async () => {
    const lane = async (): Promise<void> => {
      for (let turn = 0; turn < 5; turn++) await find(turn);
    };
    await Promise.all([lane(), lane(), lane()]);
    expect(bus.sizes).toEqual([3, 3, 3, 3, 3]);
    bus.requests = [];
    await find(7);
    expect(bus.requests).toEqual([{ key: 7 }]);
  });

  it('do not wait for a slow one of their message', async () => {
    const slow = later(1);
    const quick = [find(0), find(2)];
    const asked = find(1);
    await idle();
    await clock.advance(1);
    expect(await Promise.all(quick)).toEqual([0, 2]);
    expect(bus.replies).toHaveLength(1);
    slow.resolve('at last');
    expect(await asked).toBe('at last');
    const [, key] = bus.requests;
    expect(bus.replies[0]).toMatchObject({ rest: key });
    expect(bus.replies).toHaveLength(2);
  });

  it('get each its own error', async () => {
    const failing = later(1);
    failing.reject(new AntiphonError('BAD_SQL', 'no such table', { context: { table: 'x' } }));
    const bad = remote.ask('find', { key: 'two' as never });
    const asked = [find(0), caught(find(1)), caught(bad), find(3)];
    expect(await Promise.all(asked)).toMatchObject([
      0,
      { code: 'BAD_SQL', context: { table: 'x', remote: PREFIX, remoteCode: 'BAD_SQL' } },
      { code: 'MALFORMED_MESSAGE', message: expect.stringContaining('key must be a number') },
      3,
    ]);
    expect(bus.sizes).toEqual([4]);
    expect(exposure.stats).toMatchObject({ received: 5, refused: 1 });
  });

  it('have each its own time and signal', async () => {
    for (const key of [1, 2, 3]) answers.set(key, never());
    const controller = new AbortController();
    const short = caught(find(1, { timeoutMs: 100 }));
    const long = caught(find(2, { timeoutMs: 300 }));
    const aborted = caught(find(3, { signal: controller.signal }));
    const quick = find(4);
    await idle();
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    await clock.advance(1);
    expect(await quick).toBe(4);
    await clock.advance(99);
    expect(await short).toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining('within 100 ms') });
    expect(bus.sizes[0]).toBe(4);
    await clock.advance(200);
    expect(await long).toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining('within 300 ms') });
  });

  it('are not sent when they are given up before', async () => {
    const controller = new AbortController();
    const given = caught(find(1, { signal: controller.signal }));
    const other = find(2);
    controller.abort();
    expect(await given).toMatchObject({ code: 'ABORTED' });
    expect(await other).toBe(2);
    expect(bus.requests).toEqual([{ key: 2 }]);
  });

  it('all end when nobody listens any more', async () => {
    answers.set(1, never());
    const asked = [caught(find(1)), find(2)];
    await idle();
    exposure.close();
    await clock.advance(1);
    expect(await Promise.all(asked)).toMatchObject([{ code: 'NO_ACTOR' }, 2]);
    expect(await Promise.all([caught(find(1)), caught(find(2))])).toMatchObject([
      { code: 'NO_ACTOR' },
      { code: 'NO_ACTOR' },
    ]);
  });

  it('go singly to one that was replaced by an older version', async () => {
    exposure.close();
    exposure = expose(false);
    expect(await Promise.all([find(1), find(2)])).toEqual([1, 2]);
    expect(bus.sizes).toEqual([2, 1, 1]);
    expect(await Promise.all([find(1), find(2)])).toEqual([1, 2]);
    expect(bus.sizes).toEqual([2, 1, 1, 1, 1]);
  });

  it('stay below the limits of the server, in both directions', async () => {
    for (const key of [1, 2, 3, 4]) answers.set(key, Promise.resolve('x'.repeat(1000 * key)));
    bus.maxPayload = 5000;
    const asked = [find(1), find(2), find(3), find(4), find(5)];
    const lengths = (await Promise.all(asked)).map((answer) => String(answer).length);
    expect(lengths).toEqual([1000, 2000, 3000, 4000, 1]);
    answers.set(6, Promise.resolve('x'.repeat(5000)));
    expect(await Promise.all([find(7), caught(find(6)), find(5)])).toMatchObject([
      7,
      { code: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('cannot be sent') },
      5,
    ]);
    bus.maxPayload = 40;
    const many = Array.from({ length: 10 }, (_, key) => caught(find(key + 10)));
    expect(await Promise.all(many)).toEqual(Array.from({ length: 10 }, (_, key) => key + 10));
  });

  it('share 64 KiB of a message, and a larger one goes alone', async () => {
    const sized = (key: number, bytes: number) =>
      remote.ask('find', { key, more: 'x'.repeat(bytes) } as { readonly key: number });
    const asked = [sized(1, 30_000), sized(2, 30_000), sized(3, 30_000), sized(4, 70_000), sized(5, 10)];
    expect(await Promise.all(asked)).toEqual([1, 2, 3, 4, 5]);
    expect(bus.sizes).toEqual([2, 1, 1, 1]);
    bus.requests = [];
    await Promise.all(Array.from({ length: 600 }, (_, key) => find(key)));
    expect(bus.sizes).toEqual([256, 256, 88]);
  });
});

describe('a side that takes several in a message', () => {
  const ask = async (data: Uint8Array) =>
    msgpackCodec.decode(await bus.request(SUBJECT, data, { timeoutMs: 1000 }));

  it('refuses too many, and does nothing of it', async () => {
    expect(await ask(request(...Array<number>(257).fill(1)))).toMatchObject({
      error: { code: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('256 at most') },
    });
    expect(exposure.stats).toMatchObject({ received: 2, refused: 1 });
  });

  it('answers what is no bundle as ever', async () => {
    expect(await ask(msgpackCodec.encode([]))).toMatchObject({ error: { code: 'MALFORMED_MESSAGE' } });
    expect(await ask(msgpackCodec.encode([{ key: 1 }]))).toMatchObject({
      error: { code: 'MALFORMED_MESSAGE' },
    });
    expect(await ask(msgpackCodec.encode(['x']))).toMatchObject({ error: { code: 'MALFORMED_MESSAGE' } });
    bus.publish(SUBJECT, request(1, 2));
    await idle();
    expect(exposure.stats).toMatchObject({ refused: 4 });
  });

  it('forgets replies that nobody asks for', async () => {
    const slow = later(1);
    const { rest } = (await Promise.all([ask(request(1, 2)), idle().then(() => clock.advance(1))]))[0] as {
      readonly rest: string;
    };
    await clock.advance(29_000);
    slow.resolve('late');
    expect(await ask(msgpackCodec.encode(rest))).toMatchObject({ bundle: [0, expect.anything()] });
    expect(await ask(msgpackCodec.encode(rest))).toMatchObject({
      error: { code: 'NO_ACTOR', retriable: true },
    });
    answers.set(3, never());
    const again = (await Promise.all([ask(request(3, 4)), idle().then(() => clock.advance(1))]))[0] as {
      readonly rest: string;
    };
    await clock.advance(30_000);
    expect(await ask(msgpackCodec.encode(again.rest))).toMatchObject({ error: { code: 'NO_ACTOR' } });
  });
});

it('answers whatever is asked together as what is asked alone (property)', async () => {
  const question = fc.record({
    outcome: fc.constantFrom('value', 'error', 'bad'),
    bytes: fc.oneof(fc.nat(50), fc.nat(3000)),
    delayMs: fc.constantFrom(0, 0, 0, 1, 2, 50),
    turn: fc.nat(2),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(question, { maxLength: 40 }),
      fc.integer({ min: 3500, max: 9000 }),
      async (asked, limit) => {
        bus.maxPayload = limit;
        answers.clear();
        bus.requests = [];
        const all = asked.map(async ({ outcome, bytes, delayMs, turn }, key) => {
          const settle = later(key);
          const value = `${key}${'x'.repeat(bytes)}`;
          clock.setTimer(delayMs, () =>
            outcome === 'error' ? settle.reject(new AntiphonError('BAD_SQL', value)) : settle.resolve(value),
          );
          for (let passed = 0; passed < turn; passed++) await idle();
          const sent = outcome === 'bad' ? ({ key: String(key) } as never) : { key };
          const answer = await remote.ask('find', sent).catch((error: unknown) => error);
          if (outcome === 'value') expect(answer).toBe(value);
          else if (outcome === 'error') expect(answer).toMatchObject({ code: 'BAD_SQL', message: value });
          else expect(answer).toMatchObject({ code: 'MALFORMED_MESSAGE' });
        });
        for (let passed = 0; passed < 3; passed++) await idle();
        const over = Promise.all(all);
        await clock.advance(200);
        await over;
        const sizes = bus.sizes.filter((_, index) => typeof bus.requests[index] !== 'string');
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(asked.length);
      },
    ),
    { numRuns: 200 },
  );
});
