import { AntiphonError } from '@antiphon/core';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import {
  ActorSystem,
  backoffMs,
  type ActorEvent,
  type Behaviour,
  type Context,
  type Supervision,
} from './index.js';

interface Worker {
  work(): string;
  fail(): void;
  crashLater(): string;
}

let clock: ManualClock;
let system: ActorSystem;
let events: ActorEvent[];
/** What happened to incarnations, in order. */
let story: string[];

beforeEach(() => {
  clock = new ManualClock();
  events = [];
  story = [];
  system = new ActorSystem({ clock, name: 'test', onEvent: (event) => events.push(event) });
});

function worker(name = 'worker', started: (context: Context<Worker>) => void = () => undefined) {
  let incarnation = 0;
  return (): Behaviour<Worker> => {
    const self = `${name} ${++incarnation}`;
    return {
      started: (context) => {
        story.push(`${self} started`);
        started(context);
      },
      stopped: ({ type }) => void story.push(`${self} ${type}`),
      receive: {
        work: () => self,
        fail: () => {
          throw new Error(`${self} broke`);
        },
        crashLater: (_, context) => {
          context.crash(new Error('deliberate'));
          return 'answered all the same';
        },
      },
    };
  };
}

const restart = (
  overrides: Partial<{ maxRestarts: number; windowMs: number; jitter: number }> = {},
): Supervision => ({
  restart: {
    maxRestarts: overrides.maxRestarts ?? 5,
    windowMs: overrides.windowMs ?? 60_000,
    backoff: { initialMs: 100, maxMs: 1000, factor: 2, jitter: overrides.jitter ?? 0 },
  },
});

const delays = () => events.flatMap((event) => (event.type === 'crashed' ? [event.restartInMs] : []));

describe('restart', () => {
  it('waits twice as long each time, up to the maximum, then escalates', async () => {
    const ref = system.spawn<Worker>('worker', worker(), { supervision: restart() });
    for (const delayMs of [100, 200, 400, 800, 1000]) {
      ref.tell('fail');
      const answer = ref.ask('work');
      let answered = false;
      void answer.then(() => (answered = true));
      await clock.advance(delayMs - 1);
      expect(answered).toBe(false);
      await clock.advance(1);
      expect(answered).toBe(true);
    }
    expect(await ref.ask('work')).toBe('worker 6');
    ref.tell('fail');
    expect(await system.terminated).toMatchObject({
      type: 'crashed',
      error: { message: expect.stringContaining('broke') },
    });
    expect(delays()).toEqual([100, 200, 400, 800, 1000, undefined]);
  });

  it('begins again with the first delay when crashes have left the window', async () => {
    const ref = system.spawn<Worker>('worker', worker(), {
      supervision: restart({ windowMs: 10_000, maxRestarts: 2 }),
    });
    for (const waitMs of [200, 10_000, 10_000, 10_000]) {
      ref.tell('fail');
      await clock.advance(waitMs);
    }
    expect(delays()).toEqual([100, 200, 100, 100]);
    expect(ref.stats.restarts).toBe(4);
  });

  it('shortens delays by chance, never below the share without jitter (property)', () => {
    const backoff = { initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.2 };
    const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.nat(30), chance, (attempt, random) => {
        const full = Math.min(10_000, 100 * 2 ** attempt);
        const delayMs = backoffMs(backoff, attempt, random);
        expect(delayMs).toBeLessThanOrEqual(full);
        expect(delayMs).toBeGreaterThanOrEqual(full * 0.8);
      }),
    );
  });

  it('takes its chance from the clock', async () => {
    clock.chance = 0.5;
    const ref = system.spawn<Worker>('worker', worker(), { supervision: restart({ jitter: 0.2 }) });
    ref.tell('fail');
    await clock.advance(0);
    expect(delays()).toEqual([90]);
  });

  it('also follows a crash of the factory and of started', async () => {
    let attempts = 0;
    const ref = system.spawn<Worker>(
      'worker',
      () => {
        if (++attempts === 1) throw new Error('no memory');
        return worker('worker', () => {
          if (attempts === 2) throw new AntiphonError('STORE_BUSY', 'busy');
        })();
      },
      { supervision: restart() },
    );
    const answer = ref.ask('work');
    await clock.advance(1000);
    expect(await answer).toBe('worker 1');
    expect(attempts).toBe(3);
    expect(story).toEqual(['worker 1 started', 'worker 1 restarting', 'worker 1 started']);
  });

  it('runs stopped before the next incarnation, and tells why', async () => {
    const ref = system.spawn<Worker>('worker', worker(), { supervision: restart() });
    ref.tell('fail');
    await clock.advance(100);
    await ref.stop();
    expect(story).toEqual([
      'worker 1 started',
      'worker 1 restarting',
      'worker 2 started',
      'worker 2 stopped',
    ]);
  });

  it('can be asked for by the actor, which ends its turn first', async () => {
    const ref = system.spawn<Worker>('worker', worker(), { supervision: restart() });
    expect(await ref.ask('crashLater')).toBe('answered all the same');
    const answer = ref.ask('work');
    await clock.advance(100);
    expect(await answer).toBe('worker 2');
  });

  it('is cut short by stop', async () => {
    const ref = system.spawn<Worker>('worker', worker(), { supervision: restart() });
    ref.tell('fail');
    await idle();
    const waiting = ref.ask('work').catch((error: unknown) => error);
    await ref.stop();
    expect(await waiting).toMatchObject({
      code: 'ACTOR_STOPPED',
      retriable: true,
      context: { started: false },
    });
    expect(story).toEqual(['worker 1 started', 'worker 1 restarting']);
    expect(clock.pending).toBe(0);
  });
});

describe('stop', () => {
  it('leaves the actor stopped and the others alone', async () => {
    const ref = system.spawn<Worker>('worker', worker(), { supervision: 'stop' });
    const other = system.spawn<Worker>('other', worker('other'));
    const waiting = [ref.ask('fail'), ref.ask('work')].map((ask) => ask.catch((error: unknown) => error));
    expect(await Promise.all(waiting)).toMatchObject([
      { code: 'ACTOR_STOPPED', context: { started: true } },
      { code: 'ACTOR_STOPPED', context: { started: false } },
    ]);
    expect(await other.ask('work')).toBe('other 1');
    expect(story).toContain('worker 1 crashed');
    expect(ref.tell('work')).toBe(false);
  });
});

describe('escalate', () => {
  interface Parent {
    child(): string;
  }
  function parent(supervision: Supervision) {
    let incarnation = 0;
    return (): Behaviour<Parent> => {
      let child: ReturnType<Context<Parent>['spawn']> | undefined;
      const self = `parent ${++incarnation}`;
      return {
        started: (context) => {
          story.push(`${self} started`);
          child = context.spawn<Worker>('child', worker(`child of ${self}`), { supervision }) as never;
        },
        stopped: ({ type }) => void story.push(`${self} ${type}`),
        receive: { child: () => (child as never as { ask(type: string): Promise<string> }).ask('fail') },
      };
    };
  }

  it('crashes the parent, which restarts with fresh children', async () => {
    const ref = system.spawn<Parent>('parent', parent('escalate'), { supervision: restart() });
    await expect(ref.ask('child')).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
    await clock.advance(100);
    expect(story).toEqual([
      'parent 1 started',
      'child of parent 1 1 started',
      'child of parent 1 1 crashed',
      'parent 1 restarting',
      'parent 2 started',
      'child of parent 2 1 started',
    ]);
    expect(events).toMatchObject([
      { type: 'crashed', path: 'test/parent/child' },
      { type: 'ended', path: 'test/parent/child' },
      { type: 'crashed', path: 'test/parent', restartInMs: 100 },
    ]);
  });

  it('goes up to the system, which stops everything and says why', async () => {
    const ref = system.spawn<Parent>('parent', parent('escalate'), { supervision: 'escalate' });
    system.spawn<Worker>('other', worker('other'));
    ref.tell('child');
    const reason = await system.terminated;
    expect(reason).toMatchObject({ type: 'crashed', error: { code: 'ACTOR_STOPPED' } });
    expect(String((reason as { error: Error }).error)).toContain('test/parent failed for good');
    expect(String((reason as { error: Error }).error)).toContain('broke');
    expect(story).toContain('other 1 stopped');
    expect(() => system.spawn<Worker>('late', worker())).toThrow('stopped');
  });
});

describe('an incarnation that cannot be ended', () => {
  it('is never replaced by another one beside it: the actor escalates', async () => {
    interface Stuck {
      hang(): void;
    }
    system.spawn<Stuck>(
      'stuck',
      () => ({
        started: (context) => {
          context.self.tell('hang');
          context.spawn<Worker>(
            'child',
            worker('child', ({ self }) => void self.tell('fail')),
            { supervision: 'escalate' },
          );
        },
        receive: { hang: () => new Promise<void>(() => undefined) },
      }),
      { supervision: restart() },
    );
    await clock.advance(5000);
    expect(await system.terminated).toMatchObject({ type: 'crashed' });
    expect(events).toContainEqual({ type: 'abandoned', path: 'test/stuck', during: 'hang' });
  });
});
