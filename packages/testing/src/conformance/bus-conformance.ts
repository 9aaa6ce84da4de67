import type { Bus } from '@antiphon/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from './error-code.js';
import { bytes, text } from './log/use.js';
import { eventually } from '../eventually.js';

export interface BusHarness {
  /** Another connection, as another process would have. */
  connect(): Promise<Bus>;
  /** Nobody reaches the others any more until what comes back is called. */
  interrupt(): Promise<() => Promise<void>>;
  dispose(): Promise<void>;
}

const SUBJECT = 'conformance.a.b';

/** Two connections, of one process each. */
interface Pair {
  readonly harness: BusHarness;
  readonly one: Bus;
  readonly two: Bus;
}

/** Everything that a Bus must do, as a vitest suite. */
export function busConformance(name: string, makeHarness: () => Promise<BusHarness>): void {
  describe(`bus conformance: ${name}`, () => {
    let pair: Pair | undefined;
    const current = (): Pair => {
      if (pair === undefined) throw new Error('the buses exist inside of tests only');
      return pair;
    };
    beforeEach(async () => {
      const harness = await makeHarness();
      pair = { harness, one: await harness.connect(), two: await harness.connect() };
    });
    afterEach(async () => {
      await pair?.harness.dispose();
      pair = undefined;
    });

    describeDelivery(current);
    describeTrouble(current);
  });
}

/** A subscription is known to the others after a while only. */
async function heardBy({ one }: Pair, subject: string, has: () => boolean): Promise<void> {
  await eventually(`a message on ${subject} was heard`, () => {
    if (!has()) one.publish(subject, bytes('hello'));
    return has();
  });
}

function describeDelivery(bus: () => Pair): void {
  it('brings messages to all who listen, by wildcards as well', async () => {
    const heard = new Map<string, string>();
    for (const pattern of [SUBJECT, 'conformance.*.b', 'conformance.>']) {
      bus().two.subscribe(pattern, ({ subject, data }) => heard.set(pattern, `${subject} ${text(data)}`));
    }
    bus().two.subscribe('conformance.*', () => heard.set('too short', ''));
    await heardBy(bus(), SUBJECT, () => heard.size >= 3);
    expect([...heard.entries()].sort()).toEqual([
      ['conformance.*.b', `${SUBJECT} hello`],
      ['conformance.>', `${SUBJECT} hello`],
      [SUBJECT, `${SUBJECT} hello`],
    ]);
  });

  it('brings the answer to whoever asked', async () => {
    bus().two.subscribe(SUBJECT, ({ data, respond }) => respond?.(bytes(`answer to ${text(data)}`)));
    await eventually('somebody answers', async () => {
      const answer = await bus()
        .one.request(SUBJECT, bytes('q'), { timeoutMs: 1000 })
        .catch(() => undefined);
      return text(answer) === 'answer to q';
    });
    const answers = await Promise.all(
      ['x', 'y', 'z'].map(async (question) =>
        text(await bus().one.request(SUBJECT, bytes(question), { timeoutMs: 5000 })),
      ),
    );
    expect(answers).toEqual(['answer to x', 'answer to y', 'answer to z']);
  });

  it('brings the headers of a request, whatever the case of their names', async () => {
    bus().two.subscribe(SUBJECT, ({ header, respond }) =>
      respond?.(bytes(`${header?.('X-One') ?? 'none'} ${header?.('x-two') ?? 'none'}`)),
    );
    await eventually('somebody answers', async () => {
      const answer = await bus()
        .one.request(SUBJECT, bytes(''), { timeoutMs: 1000, headers: { 'x-one': 'a b', 'x-two': 'c' } })
        .catch(() => undefined);
      return text(answer) === 'a b c';
    });
    expect(text(await bus().one.request(SUBJECT, bytes(''), { timeoutMs: 5000 }))).toBe('none none');
  });

  it('brings each message to one of a queue group', async () => {
    const counts = [0, 0];
    for (const index of [0, 1])
      bus().two.subscribe(SUBJECT, () => (counts[index] = (counts[index] ?? 0) + 1), { queue: 'group' });
    let marks = 0;
    bus().two.subscribe('mark', () => marks++);
    await heardBy(bus(), 'mark', () => marks > 0);
    for (let i = 0; i < 100; i++) bus().one.publish(SUBJECT, bytes(''));
    await eventually('all have come', () => (counts[0] ?? 0) + (counts[1] ?? 0) >= 100);
    const before = marks;
    bus().one.publish('mark', bytes(''));
    await eventually('a later message has come', () => marks > before);
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(100);
  });

  it('drains a subscription: what was sent before comes, and nothing after that', async () => {
    let heard = 0;
    const subscription = bus().two.subscribe(SUBJECT, () => heard++);
    await heardBy(bus(), SUBJECT, () => heard > 0);
    const before = heard;
    for (let i = 0; i < 100; i++) bus().two.publish(SUBJECT, bytes(''));
    await subscription.drain();
    await subscription.drain();
    expect(heard).toBe(before + 100);
    let marks = 0;
    bus().two.subscribe('mark', () => marks++);
    bus().two.publish(SUBJECT, bytes(''));
    await heardBy({ ...bus(), one: bus().two }, 'mark', () => marks > 0);
    expect(heard).toBe(before + 100);
  });
}

function describeTrouble(bus: () => Pair): void {
  it('says why there is no answer', async () => {
    expect(
      await bus()
        .one.request('nobody.there', bytes(''), { timeoutMs: 5000 })
        .then(() => 'answered', codeOf),
    ).toBe('NO_ACTOR');
    let heard = false;
    bus().two.subscribe(SUBJECT, () => {
      heard = true;
    });
    await heardBy(bus(), SUBJECT, () => heard);
    expect(
      await bus()
        .one.request(SUBJECT, bytes(''), { timeoutMs: 50 })
        .then(() => 'answered', codeOf),
    ).toBe('TIMEOUT');
    const abort = new AbortController();
    const asked = bus()
      .one.request(SUBJECT, bytes(''), { timeoutMs: 5000, signal: abort.signal })
      .then(() => 'answered', codeOf);
    abort.abort();
    expect(await asked).toBe('ABORTED');
  });

  it('survives handlers that throw, and forgets those that unsubscribe', async () => {
    let calls = 0;
    const subscription = bus().two.subscribe(SUBJECT, () => {
      calls++;
      throw new Error('a handler may throw');
    });
    await heardBy(bus(), SUBJECT, () => calls > 1);
    subscription.unsubscribe();
    subscription.unsubscribe();
    let marks = 0;
    bus().two.subscribe('mark', () => marks++);
    await heardBy(bus(), 'mark', () => marks > 0);
    const before = calls;
    bus().one.publish(SUBJECT, bytes(''));
    const marked = marks;
    bus().one.publish('mark', bytes(''));
    await eventually('a later message has come', () => marks > marked);
    expect(calls).toBe(before);
  });

  it('drops what cannot be sent, and works again afterwards', async () => {
    let heard = 0;
    bus().two.subscribe(SUBJECT, () => heard++);
    await heardBy(bus(), SUBJECT, () => heard > 0);
    const mend = await bus().harness.interrupt();
    expect(() => bus().one.publish(SUBJECT, bytes('lost'))).not.toThrow();
    const failed = await bus()
      .one.request(SUBJECT, bytes(''), { timeoutMs: 300 })
      .then(() => 'answered', codeOf);
    expect(['LOG_UNAVAILABLE', 'TIMEOUT']).toContain(failed);
    await mend();
    const before = heard;
    await heardBy(bus(), SUBJECT, () => heard > before);
  });
}
