import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import {
  ActorSystem,
  type ActorEvent,
  type ActorRef,
  type Behaviour,
  type Context,
  type Death,
} from './index.js';

interface Pulse {
  beat(tag: string): void;
  hold(): void;
  fail(): void;
  other(): void;
}

let clock: ManualClock;
let system: ActorSystem;
let events: ActorEvent[];
let seen: string[];
let deaths: Death[];
let release: () => void;

beforeEach(() => {
  clock = new ManualClock();
  [events, seen, deaths] = [[], [], []];
  release = () => undefined;
  system = new ActorSystem({ clock, name: 'test', onEvent: (event) => events.push(event) });
});

function pulse(started: (context: Context<Pulse>) => void = () => undefined) {
  return (): Behaviour<Pulse> => ({
    started,
    terminated: (death) => void deaths.push(death),
    receive: {
      beat: (tag) => void seen.push(`${tag} at ${clock.nowMs()}`),
      hold: () => new Promise<void>((resolve) => (release = resolve)),
      fail: () => {
        throw new Error('broke');
      },
      other: () => undefined,
    },
  });
}

describe('timers', () => {
  it('fire once, or again and again', async () => {
    const ref = system.spawn<Pulse>(
      'pulse',
      pulse((context) => {
        context.after(25, 'beat', 'once');
        context.every(10, 'beat', 'each');
      }),
    );
    await clock.advance(35);
    expect(seen).toEqual(['each at 10', 'each at 20', 'once at 25', 'each at 30']);
    await ref.stop();
    await clock.advance(100);
    expect(seen).toHaveLength(4);
    expect(clock.pending).toBe(0);
  });

  it('leave out ticks while the last one waits', async () => {
    const ref = system.spawn<Pulse>(
      'pulse',
      pulse((context) => void context.every(10, 'beat', 'each')),
    );
    ref.tell('hold');
    await clock.advance(100);
    expect(ref.stats.waiting).toBe(1);
    release();
    await clock.advance(5);
    expect(seen).toEqual(['each at 100']);
    await clock.advance(5);
    expect(seen).toEqual(['each at 100', 'each at 110']);
  });

  it('are not lost to a full lane', async () => {
    const ref = system.spawn<Pulse>(
      'pulse',
      pulse((context) => void context.after(10, 'beat', 'once')),
      {
        mailbox: {
          lanes: { all: { capacity: 2 } },
          laneOf: { beat: 'all', hold: 'all', fail: 'all', other: 'all' },
        },
      },
    );
    ref.tell('hold');
    await idle();
    expect([ref.tell('other'), ref.tell('other'), ref.tell('other')]).toEqual([true, true, false]);
    await clock.advance(10);
    release();
    await idle();
    expect(seen).toEqual(['once at 10']);
  });

  it('cancel also takes back a message that waits', async () => {
    let timer = { cancel: (): void => undefined };
    const ref = system.spawn<Pulse>(
      'pulse',
      pulse((context) => (timer = context.after(10, 'beat', 'once'))),
    );
    ref.tell('hold');
    await clock.advance(20);
    expect(ref.stats.waiting).toBe(1);
    timer.cancel();
    release();
    await idle();
    expect(seen).toEqual([]);
  });

  it('end with the incarnation: the next one gets none of the old ones', async () => {
    let incarnation = 0;
    const ref = system.spawn<Pulse>(
      'pulse',
      pulse((context) => void context.every(70, 'beat', `${++incarnation}`)),
    );
    await clock.advance(70);
    ref.tell('fail');
    await clock.advance(100); // The first backoff.
    await clock.advance(70);
    expect(seen).toEqual(['1 at 70', '2 at 240']);
  });

  it('are bounded in number, one-shot ones until they are handled', async () => {
    let context: Context<Pulse> | undefined;
    const ref = system.spawn<Pulse>(
      'pulse',
      pulse((own) => (context = own)),
    );
    ref.tell('hold');
    await idle();
    for (let index = 0; index < 1000; index++) context!.after(1, 'beat', 'x');
    await clock.advance(1);
    expect(() => context!.after(1, 'beat', 'x')).toThrow('1000 timers and watches');
    release();
    await idle();
    expect(seen).toHaveLength(1000);
    expect(context!.after(1, 'beat', 'x')).toBeDefined();
  });
});

describe('watch', () => {
  const watching = (targets: () => readonly ActorRef<Pulse>[]) =>
    pulse((context) => {
      for (const target of targets()) context.watch(target);
    });

  it('tells once that an actor stopped, or crashed, and why', async () => {
    const stopping = system.spawn<Pulse>('stopping', pulse());
    const crashing = system.spawn<Pulse>('crashing', pulse(), { supervision: 'stop' });
    system.spawn<Pulse>(
      'watcher',
      watching(() => [stopping, crashing]),
    );
    await idle();
    await stopping.stop();
    crashing.tell('fail');
    await idle();
    expect(deaths).toEqual([
      { path: 'test/stopping', reason: { type: 'stopped' } },
      { path: 'test/crashing', reason: { type: 'crashed', error: new Error('broke') } },
    ]);
  });

  it('does not tell of a restart', async () => {
    const restarting = system.spawn<Pulse>('restarting', pulse());
    system.spawn<Pulse>(
      'watcher',
      watching(() => [restarting]),
    );
    restarting.tell('fail');
    await clock.advance(1000);
    expect(restarting.stats.restarts).toBe(1);
    expect(deaths).toEqual([]);
  });

  it('tells at once of an actor that has ended already', async () => {
    const gone = system.spawn<Pulse>('gone', pulse());
    await gone.stop();
    system.spawn<Pulse>(
      'watcher',
      watching(() => [gone]),
    );
    await idle();
    expect(deaths).toEqual([{ path: 'test/gone', reason: { type: 'stopped' } }]);
  });

  it('can be cancelled, and is when the watcher ends', async () => {
    const target = system.spawn<Pulse>('target', pulse());
    const watcher = system.spawn<Pulse>(
      'watcher',
      watching(() => [target]),
    );
    system.spawn<Pulse>(
      'canceller',
      pulse((context) => context.watch(target).cancel()),
    );
    await idle();
    await watcher.stop();
    await target.stop();
    await idle();
    expect(deaths).toEqual([]);
  });

  it('waits for the message in progress, as any message does', async () => {
    const target = system.spawn<Pulse>('target', pulse());
    const watcher = system.spawn<Pulse>(
      'watcher',
      watching(() => [target]),
    );
    watcher.tell('hold');
    await idle();
    await target.stop();
    await idle();
    expect(deaths).toEqual([]);
    release();
    await idle();
    expect(deaths).toHaveLength(1);
  });

  it('needs a terminated hook', async () => {
    const target = system.spawn<Pulse>('target', pulse());
    const receive = pulse()().receive;
    system.spawn<Pulse>('deaf', () => ({ receive, started: (context) => void context.watch(target) }), {
      supervision: 'stop',
    });
    await idle();
    expect(events).toMatchObject([{ type: 'crashed', error: { code: 'BAD_OPTION' } }, { type: 'ended' }]);
  });

  it('is open to others than actors, by onEnd, and a throwing listener harms nobody', async () => {
    const target = system.spawn<Pulse>('target', pulse());
    target.onEnd(() => {
      throw new Error('listener');
    });
    const told = new Promise<Death>((resolve) => target.onEnd(resolve));
    await target.stop();
    expect(await told).toEqual({ path: 'test/target', reason: { type: 'stopped' } });
    expect(events).toMatchObject([{ type: 'ended' }, { type: 'unheard' }]);
  });
});
