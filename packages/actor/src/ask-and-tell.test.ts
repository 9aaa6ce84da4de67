import { AntiphonError } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import { ActorSystem, type ActorEvent, type Behaviour } from './index.js';

interface Account {
  deposit(amount: number): number;
  balance(): number;
  slow(ms: number): string;
  refuse(text: string): void;
  crash(text: string): void;
}

const clock = new ManualClock();
const events: ActorEvent[] = [];
const system = new ActorSystem({ clock, onEvent: (event) => events.push(event) });
let names = 0;

function account(): Behaviour<Account> {
  let balance = 0;
  return {
    receive: {
      deposit: (amount) => (balance += amount),
      balance: () => balance,
      slow: (ms) => new Promise((resolve) => clock.setTimer(ms, () => resolve(`${ms} ms later`))),
      refuse: (text) => {
        throw new AntiphonError('CONSTRAINT', text);
      },
      crash: (text) => {
        throw new TypeError(text);
      },
    },
  };
}

const open = () => system.spawn<Account>(`account-${names++}`, account);

afterEach(() => events.splice(0));

describe('tell and ask', () => {
  it('answers with what the handler returns, directly or by a promise', async () => {
    const ref = open();
    expect(ref.tell('deposit', 5)).toBe(true);
    expect(await ref.ask('deposit', 7)).toBe(12);
    const slow = ref.ask('slow', 30);
    await clock.advance(30);
    expect(await slow).toBe('30 ms later');
    expect(ref.stats).toEqual({ waiting: 0, handled: 3, dropped: 0, restarts: 0 });
  });

  it('handles one message at a time, in the order sent, 10 000 of them', async () => {
    const seen: number[] = [];
    let running = 0;
    interface Log {
      add(index: number): void;
      end(): void;
    }
    const ref = system.spawn<Log>('log', () => ({
      receive: {
        add: async (index) => {
          expect(++running).toBe(1);
          if (index % 3 === 0) await Promise.resolve();
          if (index % 1000 === 0) await idle();
          seen.push(index);
          running--;
        },
        end: () => undefined,
      },
    }));
    const sent = Array.from({ length: 9_999 }, (_, index) => index);
    for (const index of sent) expect(ref.tell('add', index)).toBe(true);
    await ref.ask('end');
    expect(seen).toEqual(sent);
  });

  it('lets an AntiphonError reach the asker and the actor live', async () => {
    const ref = open();
    await ref.ask('deposit', 3);
    await expect(ref.ask('refuse', 'too poor')).rejects.toMatchObject({
      code: 'CONSTRAINT',
      message: 'too poor',
    });
    expect(await ref.ask('balance')).toBe(3);
    expect(events).toEqual([]);
  });

  it('reports the error of a told message as unheard', async () => {
    const ref = open();
    ref.tell('refuse', 'nobody asked');
    await ref.ask('balance');
    expect(events).toMatchObject([{ type: 'unheard', path: ref.path, during: 'refuse' }]);
  });

  it('rejects the message that crashes an actor, with the cause', async () => {
    const ref = open();
    const error: unknown = await ref.ask('crash', 'oh no').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ACTOR_STOPPED', retriable: false, cause: new TypeError('oh no') });
    expect(error).toMatchObject({ context: { actor: ref.path, message: 'crash', started: true } });
  });

  it('keeps waiting messages across a restart, which makes a fresh behaviour', async () => {
    const ref = open();
    await ref.ask('deposit', 3);
    const crashed = ref.ask('crash', 'oh no').catch(() => 'rejected');
    const kept = [ref.ask('deposit', 1), ref.ask('deposit', 1)];
    expect(await crashed).toBe('rejected');
    await clock.advance(1000);
    expect(await Promise.all(kept)).toEqual([1, 2]);
    expect(ref.stats).toMatchObject({ restarts: 1, waiting: 0 });
  });

  it('refuses a message that is not in the protocol', async () => {
    const ref = open();
    await expect(ref.ask('toString' as 'balance')).rejects.toMatchObject({ code: 'MALFORMED_MESSAGE' });
    await expect(ref.ask('nonsense' as 'balance')).rejects.toMatchObject({ context: { started: false } });
    expect(await ref.ask('balance')).toBe(0);
  });
});

describe('an asker that gives up', () => {
  it('times out while the message is handled', async () => {
    const ref = open();
    const slow = ref.ask('slow', 1000, { timeoutMs: 20 });
    const caught = slow.catch((thrown: unknown) => thrown);
    await clock.advance(20);
    expect(await caught).toMatchObject({ code: 'TIMEOUT', retriable: true, context: { started: true } });
    await clock.advance(1000);
    expect(await ref.ask('balance')).toBe(0);
  });

  it('times out while the message waits, which is then never handled', async () => {
    const ref = open();
    ref.tell('slow', 100);
    const caught = ref.ask('deposit', 5, { timeoutMs: 20 }).catch((thrown: unknown) => thrown);
    await clock.advance(20);
    expect(await caught).toMatchObject({ code: 'TIMEOUT', context: { started: false } });
    await clock.advance(100);
    expect(await ref.ask('balance')).toBe(0);
  });

  it('uses the timeout of the system when it has none, and none when it is Infinity', async () => {
    const ref = open();
    const usual = ref.ask('slow', 1e6).catch((thrown: unknown) => thrown);
    const patient = ref.ask('deposit', 1, { timeoutMs: Infinity });
    await clock.advance(5000);
    expect(await usual).toMatchObject({ code: 'TIMEOUT' });
    await clock.advance(1e6);
    expect(await patient).toBe(1);
  });

  it('aborts before, while and after the message is handled', async () => {
    const ref = open();
    const aborted = AbortSignal.abort(new Error('too late'));
    await expect(ref.ask('deposit', 5, { signal: aborted })).rejects.toMatchObject({ code: 'ABORTED' });

    const controller = new AbortController();
    const { signal } = controller;
    const asked = [ref.ask('slow', 100, { signal }), ref.ask('deposit', 5, { signal })];
    const caught = Promise.allSettled(asked);
    await idle();
    controller.abort(new Error('enough'));
    const [handled, waiting] = await caught;
    expect(handled).toMatchObject({
      reason: { code: 'ABORTED', cause: signal.reason, context: { started: true } },
    });
    expect(waiting).toMatchObject({ reason: { code: 'ABORTED', context: { started: false } } });
    await clock.advance(100);
    expect(await ref.ask('balance')).toBe(0);
  });

  it('leaves no timer and no listener behind', async () => {
    const ref = open();
    const before = clock.pending;
    const { signal } = new AbortController();
    const warnings: Error[] = [];
    process.on('warning', (warning) => warnings.push(warning));
    await Promise.all(
      Array.from({ length: 100 }, () => ref.ask('deposit', 1, { signal, timeoutMs: 60_000 })),
    );
    await idle();
    expect(clock.pending).toBe(before);
    expect(warnings).toEqual([]);
  });
});
