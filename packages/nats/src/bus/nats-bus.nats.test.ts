import type { Bus } from '@antiphon/core';
import { headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { bytes, Fixture, text } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';

let fixture: Fixture;
let nats: NatsHandle;
let bus: Bus;
const problems: Error[] = [];
beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect({ onProblem: (problem) => problems.push(problem) });
  bus = nats.bus();
});
afterAll(() => fixture.stop());

const soon = { timeoutMs: 2000 };

describe('headers', () => {
  it('are read whatever the case of their names, and answered without a line break', async () => {
    const { connection } = nats;
    const subscription = bus.subscribe('with.headers', ({ header, respond }) => {
      const seen = [header?.('content-TYPE'), header?.('none')].join(' ');
      respond?.(bytes(seen), { 'Content-Type': 'text/plain', Note: 'Ünïcode\r\nEvil: 1' });
    });
    const given = headers();
    given.set('Content-Type', 'application/json');
    const answer = await connection.request('with.headers', bytes(''), { timeout: 2000, headers: given });
    expect(text(answer.data)).toBe('application/json ');
    expect([...(answer.headers?.keys() ?? [])]).toEqual(['Content-Type', 'Note']);
    expect(answer.headers?.get('Note')).toBe('?n?code Evil: 1');
    expect(text((await connection.request('with.headers', bytes(''))).data)).toBe(' ');
    subscription.unsubscribe();
  });
});

describe('publish and subscribe', () => {
  it('gives messages to everybody who listens, by wildcard as well, until they unsubscribe', async () => {
    const seen: string[] = [];
    const exact = bus.subscribe('a.b', ({ subject, data }) => seen.push(`exact ${subject} ${text(data)}`));
    const one = bus.subscribe('a.*', ({ subject }) => seen.push(`one ${subject}`));
    const rest = bus.subscribe('a.>', ({ subject, respond }) => seen.push(`rest ${subject} ${respond}`));
    bus.publish('a.b', bytes('hello'));
    await eventually('three messages', () => seen.length === 3);
    expect(seen.sort()).toEqual(['exact a.b hello', 'one a.b', 'rest a.b undefined']);
    for (const subscription of [exact, one]) subscription.unsubscribe();
    bus.publish('a.b.c', bytes(''));
    await eventually('the last', () => seen.length === 4);
    rest.unsubscribe();
  });

  it('gives each message to one member of a queue group', async () => {
    const counts = [0, 0, 0];
    const members = counts.map((_, n) =>
      bus.subscribe('q', () => (counts[n] = (counts[n] ?? 0) + 1), { queue: 'workers' }),
    );
    for (let n = 0; n < 300; n += 1) bus.publish('q', bytes(n));
    await eventually('all messages', () => counts.reduce((sum, count) => sum + count) === 300);
    expect(counts.filter((count) => count > 0).length).toBeGreaterThan(1);
    for (const member of members) member.unsubscribe();
  });

  it('goes on when a handler throws, counts it and tells it', async () => {
    let calls = 0;
    const subscription = bus.subscribe('bad', () => {
      calls += 1;
      throw new Error('a mistake in the handler');
    });
    const before = nats.problemCount;
    for (let n = 0; n < 10; n += 1) bus.publish('bad', bytes(n));
    await eventually('all calls', () => calls === 10);
    expect(nats.problemCount - before).toBe(10);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toMatch(/handler of bad threw: a mistake in the handler/);
    subscription.unsubscribe();
  });
});

describe('request', () => {
  it('gets the reply', async () => {
    const subscription = bus.subscribe('echo', ({ data, respond }) => respond?.(bytes(`${text(data)}!`)));
    expect(text(await bus.request('echo', bytes('hi'), soon))).toBe('hi!');
    const many = Array.from({ length: 500 }, (_, n) => bus.request('echo', bytes(n), soon));
    expect((await Promise.all(many)).map(text)).toEqual(Array.from({ length: 500 }, (_, n) => `${n}!`));
    subscription.unsubscribe();
  });

  it('fails at once when nobody listens', async () => {
    await expect(bus.request('nobody', bytes(''), soon)).rejects.toMatchObject({
      code: 'NO_ACTOR',
      retriable: true,
    });
  });

  it('fails when no reply comes in time, or the caller gives up', async () => {
    const subscription = bus.subscribe('silent', () => undefined);
    await expect(bus.request('silent', bytes(''), { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    const giveUp = new AbortController();
    const request = bus.request('silent', bytes(''), { ...soon, signal: giveUp.signal });
    giveUp.abort();
    await expect(request).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(bus.request('silent', bytes(''), { ...soon, signal: giveUp.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    subscription.unsubscribe();
  });

  it('takes the first of several replies, and an empty one', async () => {
    const subscription = bus.subscribe('twice', ({ respond }) => {
      respond?.(new Uint8Array(0));
      respond?.(bytes('late'));
    });
    expect((await bus.request('twice', bytes(''), soon)).length).toBe(0);
    subscription.unsubscribe();
  });
});

describe('limits', () => {
  it.each(['', 'a b', 'a..b', '.a', 'a.', 'a\r\nPUB x 0\r\n\r\n', 'a\tb', 'a.*', 'a.>', 'x'.repeat(600)])(
    'I15: refuses to publish on %j',
    async (subject) => {
      expect(() => bus.publish(subject, bytes(''))).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
      await expect(bus.request(subject, bytes(''), soon)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    },
  );

  it.each(['', 'a b', 'a..b', '>.a', 'a*', 'a.b>', 'a\r\nSUB > 1\r\n'])(
    'I15: refuses to subscribe to %j',
    (subject) => {
      expect(() => bus.subscribe(subject, () => undefined)).toThrow(
        expect.objectContaining({ code: 'BAD_OPTION' }),
      );
      expect(() => bus.subscribe('a', () => undefined, { queue: 'x y' })).toThrow(/subject/);
    },
  );

  it('I15: refuses a message over the limit of the server', async () => {
    const large = new Uint8Array(1_048_577);
    expect(() => bus.publish('a', large)).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
    await expect(bus.request('a', large, soon)).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  });
});

describe('a request whose answer is to go where only replicas may publish', () => {
  it.each([
    ...['antiphon.shop.replica.eu-1.takeOver', 'antiphon.shop.log.eu-1', 'antiphon.shop.lease'],
    ...['antiphon.shop.write', '$KV.ANTIPHON_shop.cluster', '$JS.API.STREAM.DELETE.ANTIPHON_shop'],
  ])('%s: is not answered there', async (reply) => {
    const heard: string[] = [];
    const seen: boolean[] = [];
    const subscriptions = [
      bus.subscribe(reply, ({ data }) => heard.push(text(data))),
      bus.subscribe('deputy', ({ respond }) => {
        seen.push(respond !== undefined);
        respond?.(bytes('an order'));
      }),
    ];
    const before = nats.problemCount;
    nats.connection.publish('deputy', bytes(''), { reply });
    await eventually('it has come', () => seen.length === 1);
    expect(text(await bus.request('deputy', bytes(''), soon))).toBe('an order');
    expect({ heard, seen }).toEqual({ heard: [], seen: [false, true] });
    expect(nats.problemCount - before).toBe(1);
    for (const subscription of subscriptions) subscription.unsubscribe();
  });
});

it('a request is not answered on subjects of published changes, which others take for changes', async () => {
  const wanted = { cluster: 'shop', stream: 'SHOP', subjects: 'shop.*.*', retention: {} };
  const publication = nats.publication(wanted);
  const heard: string[] = [];
  const subscriptions = [
    bus.subscribe('shop.>', ({ subject }) => heard.push(subject)),
    bus.subscribe('deputy', ({ respond }) => respond?.(bytes('no change'))),
  ];
  for (const reply of ['shop.orders.insert', 'shop.orders.insert.1', 'shop.x'])
    nats.connection.publish('deputy', bytes(''), { reply });
  await eventually('the others are answered', () => heard.length === 2);
  expect(heard).toEqual(['shop.orders.insert.1', 'shop.x']);
  publication.close();
  for (const subscription of subscriptions) subscription.unsubscribe();
});

describe('without a server', () => {
  it('drops what is published, fails requests at once, and goes on afterwards', async () => {
    const seen: string[] = [];
    const subscription = bus.subscribe('later', ({ data, respond }) => {
      seen.push(text(data));
      respond?.(data);
    });
    const silent = bus.subscribe('never', () => undefined);
    const waiting = expect(bus.request('never', bytes(''), { timeoutMs: 20_000 }));
    const lost = waiting.rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await fixture.server.kill();
    await lost;
    bus.publish('later', bytes('lost'));
    await expect(bus.request('later', bytes(''), soon)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await fixture.server.restart();
    await eventually('the reconnect', () => nats.status === 'connected', 3000);
    expect(text(await bus.request('later', bytes('back'), soon))).toBe('back');
    expect(seen).toEqual(['back']);
    subscription.unsubscribe();
    silent.unsubscribe();
    await nats.close();
    bus.publish('later', bytes('closed'));
    await expect(bus.request('later', bytes(''), soon)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  });
});
