import { AntiphonError } from '@antiphon/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import { ActorSystem, type ActorEvent, type ActorRef, type Received } from './index.js';

type Fate = 'commit' | 'refuse-one' | 'disk-full' | 'crash' | 'forget' | 'defer';

interface Store {
  write(key: string): string;
  seal(): string;
  hold(): void;
}

let clock: ManualClock;
let events: ActorEvent[];
let groups: string[][];
let deferred: Received<Store, 'write'>[];
let fate: Fate;
let release: () => void;
let ref: ActorRef<Store>;

beforeEach(() => {
  clock = new ManualClock();
  [events, groups, deferred] = [[], [], []];
  fate = 'commit';
  const system = new ActorSystem({ clock, name: 'test', onEvent: (event) => events.push(event) });
  ref = system.spawn<Store>(
    'store',
    () => ({
      receive: {
        hold: () => new Promise<void>((resolve) => (release = resolve)),
        seal: () => {
          groups.push(['seal']);
          return 'sealed';
        },
        write: async (key, context, first) => {
          const group = [first, ...context.takeWaiting('write', 3)];
          groups.push(group.map((write) => write.request));
          await Promise.resolve();
          if (fate === 'disk-full') throw new AntiphonError('STORE_FULL', 'no room');
          if (fate === 'crash') throw new Error('broke');
          if (fate === 'forget') return `${key} committed`;
          if (fate === 'defer') {
            deferred.push(...group);
            for (const write of group) write.defer();
            return first.defer();
          }
          for (const write of group) {
            if (fate === 'refuse-one' && write.request === 'b')
              write.reject(new AntiphonError('CONSTRAINT', 'no b'));
            else write.reply(`${write.request} committed`);
          }
          return first.reply('too late to change');
        },
      },
    }),
    { mailbox: { lanes: { all: { capacity: 8 } }, laneOf: { write: 'all', seal: 'all', hold: 'all' } } },
  );
});

async function write(keys: readonly string[]) {
  ref.tell('hold');
  await idle();
  const asks = keys.map((key) => (key === 'seal' ? ref.ask('seal') : ref.ask('write', key)));
  const settled = Promise.allSettled(asks);
  release();
  await idle();
  return { settled };
}

const values = async ({ settled }: { settled: Promise<PromiseSettledResult<string>[]> }) =>
  (await settled).map((result) =>
    result.status === 'fulfilled' ? result.value : (result.reason as AntiphonError).code,
  );

describe('takeWaiting', () => {
  it('takes up to the limit of one type, in order, and leaves the others', async () => {
    const result = await values(await write(['a', 'b', 'seal', 'c', 'd', 'e', 'f']));
    expect(result).toEqual(
      ['a', 'b']
        .map((key) => `${key} committed`)
        .concat(
          'sealed',
          ['c', 'd', 'e', 'f'].map((key) => `${key} committed`),
        ),
    );
    expect(groups).toEqual([['a', 'b', 'c', 'd'], ['seal'], ['e', 'f']]);
    expect(ref.stats).toMatchObject({ handled: 8, waiting: 0 });
  });

  it('lets each message have its own answer', async () => {
    fate = 'refuse-one';
    expect(await values(await write(['a', 'b', 'c']))).toEqual(['a committed', 'CONSTRAINT', 'c committed']);
  });

  it('rejects the whole group with what the handler throws', async () => {
    fate = 'disk-full';
    expect(await values(await write(['a', 'b', 'c']))).toEqual(['STORE_FULL', 'STORE_FULL', 'STORE_FULL']);
    expect(events).toEqual([]);
  });

  it('rejects the whole group when the actor crashes, but not who still waits', async () => {
    fate = 'crash';
    const { settled } = await write(['a', 'b', 'c', 'd', 'e']);
    fate = 'commit';
    await clock.advance(1000);
    expect(await values({ settled })).toEqual([...Array<string>(4).fill('ACTOR_STOPPED'), 'e committed']);
  });

  it('leaves nobody waiting who was taken and forgotten', async () => {
    fate = 'forget';
    expect(await values(await write(['a', 'b']))).toEqual(['a committed', 'INTERNAL']);
  });

  it('skips those who gave up', async () => {
    ref.tell('hold');
    await idle();
    const controller = new AbortController();
    const asks = ['a', 'b', 'c'].map((key) =>
      ref.ask('write', key, key === 'b' ? { signal: controller.signal } : {}),
    );
    const settled = Promise.allSettled(asks);
    controller.abort();
    release();
    expect(await values({ settled })).toEqual(['a committed', 'ABORTED', 'c committed']);
    expect(groups).toEqual([['a', 'c']]);
  });
});

describe('defer', () => {
  it('answers after the handler has ended, and keeps its place in the lane until then', async () => {
    fate = 'defer';
    const { settled } = await write(['a', 'b', 'c', 'd', 'e', 'f']);
    expect(groups).toEqual([
      ['a', 'b', 'c', 'd'],
      ['e', 'f'],
    ]);
    ref.tell('hold');
    await idle();
    expect([ref.tell('seal'), ref.tell('seal'), ref.tell('seal')]).toEqual([true, true, false]);
    for (const message of deferred) message.reply(`${message.request} later`);
    expect(ref.tell('seal')).toBe(true);
    expect(await values({ settled })).toEqual(['a', 'b', 'c', 'd', 'e', 'f'].map((key) => `${key} later`));
  });

  it('ends with the actor, its crash, or the patience of the asker', async () => {
    fate = 'defer';
    const { settled } = await write(['a', 'b']);
    const impatient = ref.ask('write', 'c', { timeoutMs: 10 });
    const caught = impatient.catch((error: unknown) => error);
    await clock.advance(10);
    expect(await caught).toMatchObject({ code: 'TIMEOUT', context: { started: true } });
    expect(deferred.map((message) => message.wanted)).toEqual([true, true, false]);
    fate = 'crash';
    ref.tell('write', 'x');
    expect(await values({ settled })).toEqual(['ACTOR_STOPPED', 'ACTOR_STOPPED']);
    deferred[0]!.reply('ignored');
    fate = 'defer';
    const last = ref.ask('write', 'y').catch((error: unknown) => error);
    await clock.advance(1000);
    await ref.stop();
    expect(await last).toMatchObject({ code: 'ACTOR_STOPPED' });
  });
});
