import {
  AntiphonError,
  encodeCursor,
  listSubscriptions,
  removeSubscription,
  type DeliveryWindow,
  type Registry,
} from '@antiphon/core';
import { Faults, Link, memoryRegistry, Random, VirtualClock, type MemoryRegistry } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { takePlace, type PlaceWriter } from './place-writer.js';
import { SubscriptionLease } from './subscription-lease.js';

const LEASE_MS = 3000;
const BEGIN = cursorAfter(0);

/** Behind the n-th change of a stream of transactions with one change each. */
function cursorAfter(n: number): string {
  return encodeCursor({
    generation: 'g',
    seq: n,
    vector: n < 2 ? {} : { a: n - 1 },
    inside: n === 0 ? {} : { a: 1 },
  });
}

class World {
  readonly clock: VirtualClock;
  readonly faults: Faults;
  readonly server: MemoryRegistry;
  #instances = 0;

  constructor(seed = 1) {
    this.clock = new VirtualClock({ seed });
    this.faults = new Faults(new Random(seed), { minLatencyMs: 1, maxLatencyMs: 5 });
    this.server = memoryRegistry({ clock: this.clock, faults: this.faults });
  }

  instance(driftPpm = 0): Instance {
    const clock = this.clock.node({ driftPpm });
    const link = new Link({ clock: this.clock, faults: this.faults });
    return new Instance(`i${++this.#instances}`, clock, link, this.server);
  }
}

class Instance {
  readonly lease: SubscriptionLease;
  readonly registry: Registry;
  readonly ending = new AbortController();
  /** Its replica has stalled, or holds. */
  canDeliver = true;
  window: DeliveryWindow | undefined;
  writer: PlaceWriter | undefined;

  constructor(
    readonly name: string,
    readonly clock: ReturnType<VirtualClock['node']>,
    readonly link: Link,
    server: MemoryRegistry,
  ) {
    const holder = { replica: 'eu-1', instance: name, leaseMs: LEASE_MS };
    this.registry = server.connect(link);
    this.lease = new SubscriptionLease({ name: 'mailer', holder, registry: this.registry, clock });
  }

  async acquire(begin = BEGIN): Promise<string> {
    const { lease, clock, ending } = this;
    const tenure = await takePlace(
      { lease, leaseMs: LEASE_MS, clock },
      {
        canDeliver: () => this.canDeliver,
        begin: () => Promise.resolve(begin),
        isReady: () => Promise.resolve(true),
        signal: ending.signal,
      },
    );
    [this.window, this.writer] = [tenure.window, tenure.writer];
    return this.window.place;
  }

  deliver(n: number): void {
    this.window!.delivered(cursorAfter(n));
  }

  ack(n: number): Promise<void> {
    expect(this.window!.ack(cursorAfter(n))).not.toBe('unknown');
    return this.writer!.confirmed();
  }
}

const ENDED = new AntiphonError('CLOSED', 'ended');
const codeOf = (error: unknown): unknown => (error as { code?: string }).code;

describe('the lease of a subscription', () => {
  it('is the first one’s, for as long as it lives', async () => {
    const world = new World();
    const [one, two] = [world.instance(), world.instance()];
    expect(await world.clock.run(one.acquire())).toBe(BEGIN);
    let isTaken = false;
    void two.acquire().then(() => (isTaken = true));
    await world.clock.advance(20 * LEASE_MS);
    expect(isTaken).toBe(false);
    expect(one.lease.leftMs).toBeGreaterThan(0);
  });

  it('I16: goes over when its holder is silent; the holder stops before, and its acks fail', async () => {
    const world = new World();
    const [one, two] = [world.instance(), world.instance()];
    await world.clock.run(one.acquire());
    one.deliver(1);
    one.deliver(2);
    await world.clock.run(one.ack(1));
    const taking = two.acquire();
    taking.catch(() => undefined);
    await world.clock.advance(1000);
    one.link.disconnect();
    const late = one.ack(2).then(() => 'confirmed', codeOf);
    expect(await world.clock.run(taking)).toBe(cursorAfter(1));
    expect(one.lease.leftMs).toBe(0);
    expect(two.lease.epoch).toBe(2);
    one.link.reconnect();
    expect(await world.clock.run(late)).toBe('SUBSCRIPTION_LOST');
    expect(one.lease.lost.aborted).toBe(true);
  });

  it('goes over at once when its holder lets go, with what was acknowledged last', async () => {
    const world = new World();
    const [one, two] = [world.instance(), world.instance()];
    await world.clock.run(one.acquire());
    const taking = two.acquire();
    await world.clock.advance(5000);
    one.deliver(1);
    const confirmed = one.ack(1);
    const sinceMs = world.clock.monotonicMs();
    await world.clock.run(one.writer!.stop(new Error('closed')));
    await confirmed;
    expect(await world.clock.run(taking)).toBe(cursorAfter(1));
    expect(world.clock.monotonicMs() - sinceMs).toBeLessThan(LEASE_MS / 3);
  });

  it('is not longer than it was while the machine slept', async () => {
    const world = new World();
    const one = world.instance();
    let sleptMs = 0;
    Object.assign(one.clock, { uptimeMs: () => one.clock.monotonicMs() + sleptMs });
    await world.clock.run(one.acquire());
    expect(one.lease.leftMs).toBeGreaterThan(0);
    sleptMs = LEASE_MS;
    expect(one.lease.leftMs).toBe(0);
  });

  it('ends with the subscription, for the active one and for a standby', async () => {
    const world = new World();
    const [one, two] = [world.instance(), world.instance()];
    await world.clock.run(one.acquire());
    const refused = two.acquire().catch((error: unknown) => error as AntiphonError);
    const standby = refused.then((error) => codeOf(error));
    await world.clock.advance(1000);
    const outside = world.server.connect(new Link({ clock: world.clock, faults: world.faults }));
    const removed = await world.clock.run(removeSubscription(outside, 'mailer', 0));
    expect(removed).toMatchObject({ place: BEGIN, epoch: 1 });
    expect(await world.clock.run(standby)).toBe('SUBSCRIPTION_LOST');
    await world.clock.advance(LEASE_MS);
    // Whoever subscribes again does not get what was not acknowledged, unless it begins there.
    for (const { message } of [one.lease.lost.reason as AntiphonError, (await refused) as AntiphonError]) {
      expect(message).toMatch(/was removed, .*begins anew\..*`from`/);
      expect(message).not.toMatch(/delivered again/);
    }
    expect(await world.clock.run(listSubscriptions(outside))).toEqual([]);
    await expect(world.clock.run(removeSubscription(outside, 'mailer', 0))).rejects.toThrow(
      /no subscription/,
    );
    const three = world.instance();
    expect(await world.clock.run(three.acquire(cursorAfter(7)))).toBe(cursorAfter(7));
    expect(three.lease.epoch).toBe(3);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 40])(
    'is nobody’s when an instance ends %i ms after it began to take it',
    async (afterMs) => {
      for (const lostCall of [0, 0.5]) {
        for (let seed = 1; seed <= 30; seed++) {
          const world = new World(seed);
          const one = world.instance();
          world.faults.set({ lostCall, minLatencyMs: 1, maxLatencyMs: 5 });
          const taking = one.acquire().catch((error: unknown) => error);
          await world.clock.advance(afterMs);
          const reason = new Error('ended');
          one.ending.abort(reason);
          // As a subscription does.
          const ended = taking.then(() => one.writer?.stop(reason));
          world.faults.set({ lostCall: 0, minLatencyMs: 1, maxLatencyMs: 5 });
          await world.clock.run(ended);
          const two = world.instance();
          await world.clock.run(two.acquire(), LEASE_MS / 2);
          await world.clock.advance(3 * LEASE_MS);
          expect(two.lease.lost.aborted).toBe(false);
        }
      }
    },
  );

  it('is nobody’s when an instance ends right after the answer that it has it', async () => {
    for (let turns = 0; turns < 20; turns++) {
      const world = new World();
      const one = world.instance();
      const { registry } = one;
      const create = registry.create.bind(registry);
      registry.create = async (key, value) => {
        const entry = await create(key, value);
        void (async () => {
          for (let turn = 0; turn < turns; turn++) await Promise.resolve();
          one.ending.abort(ENDED);
        })();
        return entry;
      };
      await world.clock.run(one.acquire().catch((error: unknown) => expect(error).toBe(ENDED)));
      await world.clock.run(Promise.resolve(one.writer?.stop(ENDED)));
      const two = world.instance();
      await world.clock.run(two.acquire(), LEASE_MS / 2);
      await world.clock.advance(3 * LEASE_MS);
      expect(two.lease.lost.aborted).toBe(false);
    }
  });

  it('goes to none that cannot deliver, also when that begins while it is taken', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const world = new World(seed);
      const [one, two] = [world.instance(), world.instance()];
      one.canDeliver = seed > 10;
      void one.acquire();
      await world.clock.advance(seed % 10);
      const wasActive = one.writer !== undefined;
      one.canDeliver = false;
      if (wasActive) continue;
      await world.clock.run(two.acquire(), LEASE_MS / 2);
      await world.clock.advance(3 * LEASE_MS);
      expect(two.lease.lost.aborted).toBe(false);
      expect(one.writer).toBeUndefined();
      one.canDeliver = true;
      await world.clock.run(two.writer!.stop(new Error('closed')));
      await world.clock.advance(LEASE_MS);
      expect(one.writer).toBeDefined();
    }
  });

  it('writes collected acknowledgements together', async () => {
    const world = new World();
    const one = world.instance();
    await world.clock.run(one.acquire());
    const before = world.server.get('subscription.mailer')!.revision;
    const acks: Promise<void>[] = [];
    for (let n = 1; n <= 500; n++) {
      one.deliver(n);
      acks.push(one.ack(n));
      await world.clock.advance(1);
    }
    await world.clock.run(Promise.all(acks));
    expect(world.server.get('subscription.mailer')!.revision - before).toBeLessThan(10);
    const outside = world.server.connect(new Link({ clock: world.clock, faults: world.faults }));
    expect(await world.clock.run(listSubscriptions(outside))).toMatchObject([{ place: cursorAfter(500) }]);
  });
});

describe('I16: whatever happens to instances and answers', () => {
  it.each(Array.from({ length: 40 }, (_, index) => index + 1))('seed %i', async (seed) => {
    const world = new World(seed);
    const random = new Random(`instances ${seed}`);
    world.faults.set({ lostCall: random.next() < 0.5 ? 0.15 : 0, minLatencyMs: 1, maxLatencyMs: 40 });
    const history = new History();
    let stop = false;
    const life = async (): Promise<void> => {
      while (!stop) {
        const instance = world.instance((random.next() - 0.5) * 1000);
        const disturbing = disturbNowAndThen(world, random, instance);
        const atMs = random.next() < 0.5 ? Infinity : random.next() ** 3 * 10_000;
        if (atMs < Infinity) world.clock.setTimer(atMs, () => instance.ending.abort(ENDED));
        await serve(instance, history, random, () => stop).catch((error: unknown) => {
          if (codeOf(error) !== 'SUBSCRIPTION_LOST' && error !== ENDED) throw error;
        });
        disturbing.stop();
        instance.ending.abort(ENDED);
      }
    };
    const lives = Promise.all([life(), life(), life()]);
    await world.clock.advance(60_000);
    world.faults.set({ lostCall: 0 });
    stop = true;
    await world.clock.run(lives, 60_000);
    expect(history.last).toBeGreaterThan(10);
    expect(history.faults).toEqual([]);
    // None of those that have ended is in its way.
    const last = world.instance();
    await world.clock.run(last.acquire(), 2 * LEASE_MS);
    await world.clock.advance(5 * LEASE_MS);
    expect(last.lease.lost.aborted).toBe(false);
  });
});

/** What consumers saw: every change at least once and in order, and no confirmed one again. */
class History {
  readonly faults: string[] = [];
  #acknowledged = 0;
  #confirmed = 0;
  #epoch = 0;
  #active: string | undefined;
  last = 0;

  began(instance: string, epoch: number, after: number): void {
    if (epoch <= this.#epoch) this.faults.push(`${instance} has epoch ${epoch} after ${this.#epoch}`);
    if (after < this.#confirmed)
      this.faults.push(`${instance} begins after ${after}, behind ${this.#confirmed}`);
    if (after > this.#acknowledged)
      this.faults.push(`${instance} begins after ${after}, and ${this.#acknowledged} was acknowledged`);
    [this.#epoch, this.#active] = [epoch, instance];
  }

  delivered(instance: string, n: number): void {
    if (this.#active !== instance) this.faults.push(`${instance} delivers ${n} beside ${this.#active}`);
    if (n > this.last + 1) this.faults.push(`${n} after ${this.last}`);
    this.last = Math.max(this.last, n);
  }

  acknowledged(n: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, n);
  }

  confirmed(instance: string, n: number): void {
    if (n > this.last) this.faults.push(`${instance} confirms ${n}`);
    this.#confirmed = Math.max(this.#confirmed, n);
  }
}

/** Consumes until it is lost, or closes or crashes by chance. */
async function serve(
  instance: Instance,
  history: History,
  random: Random,
  stopped: () => boolean,
): Promise<void> {
  const { name, clock, lease, ending } = instance;
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.setTimer(ms, resolve));
  const place = await instance.acquire();
  let n = 0;
  while (cursorAfter(n) !== place) n++;
  // It may have been paused since it was given the lease.
  while (lease.leftMs === 0) await instance.writer!.confirmedSoon();
  history.began(name, lease.epoch!, n);
  const end = random.next();
  for (const untilMs = clock.monotonicMs() + random.next() * 20_000; clock.monotonicMs() < untilMs;) {
    while (lease.leftMs === 0 && !ending.signal.aborted) await instance.writer!.confirmedSoon();
    if (stopped() || ending.signal.aborted) break;
    n += 1;
    history.delivered(name, n);
    instance.deliver(n);
    await pause(random.next() * 200);
    if (random.next() < 0.7) {
      const acked = n;
      history.acknowledged(acked);
      const confirmed = instance.ack(acked).then(() => history.confirmed(name, acked));
      if (random.next() < 0.3) await confirmed;
      else confirmed.catch(() => undefined);
    }
  }
  if (end < 0.5 || stopped() || ending.signal.aborted) await instance.writer!.stop(new Error('closed'));
  // A crash: nothing is written any more, and what is under way may arrive.
  else {
    instance.link.kill();
    clock.stop();
  }
}

/** Its connection is cut, or its process paused, for up to three leases. */
function disturbNowAndThen(world: World, random: Random, { link, clock }: Instance): { stop(): void } {
  let stopped = false;
  const kinds: readonly (readonly [begin: () => void, end: () => void])[] = [
    [() => link.disconnect(), () => link.reconnect()],
    [() => (clock.pause(), link.pause()), () => (clock.resume(), link.resume())],
  ];
  const again = (): void => {
    world.clock.setTimer(500 + random.next() * 20_000, () => {
      if (stopped) return;
      const [begin, end] = kinds[Math.floor(random.next() * kinds.length)]!;
      begin();
      world.clock.setTimer(random.next() * 3 * LEASE_MS, end);
      again();
    });
  };
  again();
  return { stop: () => (stopped = true) };
}
