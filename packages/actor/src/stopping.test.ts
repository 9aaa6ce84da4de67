import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import {
  ActorSystem,
  NO_REPLY,
  type ActorEvent,
  type ActorRef,
  type Behaviour,
  type Context,
} from './index.js';

interface Node {
  work(ms: number): string;
  hang(): void;
  stopYourself(): string;
  later(): string;
}

let clock: ManualClock;
let system: ActorSystem;
let events: ActorEvent[];
let stopped: string[];

beforeEach(() => {
  clock = new ManualClock();
  events = [];
  stopped = [];
  system = new ActorSystem({
    clock,
    name: 'test',
    stopTimeoutMs: 1000,
    onEvent: (event) => events.push(event),
  });
});

function node(started: (context: Context<Node>) => void = () => undefined) {
  return (): Behaviour<Node> => {
    let path = '';
    return {
      started: (context) => {
        path = context.path;
        started(context);
      },
      stopped: () => void stopped.push(path),
      receive: {
        work: (ms) => new Promise((resolve) => clock.setTimer(ms, () => resolve('done'))),
        hang: () => new Promise<void>(() => undefined),
        stopYourself: (_, context) => {
          context.stop();
          return 'bye';
        },
        later: (_, __, message) => message.defer(),
      },
    };
  };
}

const tree = node((context) => {
  context.spawn<Node>(
    'left',
    node((left) => void left.spawn<Node>('leaf', node())),
  );
  context.spawn<Node>('right', node());
});

describe('stop', () => {
  it('ends children before their parents', async () => {
    system.spawn<Node>('root', tree);
    await idle();
    await system.stop();
    expect(stopped.at(-1)).toBe('test/root');
    expect(stopped.indexOf('test/root/left/leaf')).toBeLessThan(stopped.indexOf('test/root/left'));
    expect(stopped).toHaveLength(4);
    expect(await system.terminated).toEqual({ type: 'stopped' });
  });

  it('lets the message in progress finish and rejects those that wait, come or were deferred', async () => {
    const ref = system.spawn<Node>('node', node());
    const deferred = ref.ask('later').catch((error: unknown) => error);
    const running = ref.ask('work', 50);
    const waiting = ref.ask('work', 50).catch((error: unknown) => error);
    await idle();
    const stopping = ref.stop();
    expect(ref.tell('work', 1)).toBe(false);
    await expect(ref.ask('work', 1)).rejects.toMatchObject({
      code: 'ACTOR_STOPPED',
      context: { started: false },
    });
    expect(await waiting).toMatchObject({
      code: 'ACTOR_STOPPED',
      retriable: true,
      context: { started: false },
    });
    await clock.advance(50);
    await stopping;
    expect(await running).toBe('done');
    expect(await deferred).toMatchObject({ code: 'ACTOR_STOPPED', context: { started: true } });
  });

  it('is idempotent and works before the actor ever ran', async () => {
    const ref = system.spawn<Node>('node', node());
    await Promise.all([ref.stop(), ref.stop(), system.stop(), system.stop()]);
    await ref.stop();
    expect(stopped).toEqual([]);
    expect(events).toEqual([{ type: 'ended', path: 'test/node', reason: { type: 'stopped' } }]);
  });

  it('is bounded: what hangs is abandoned, its asker rejected, its parent stopped', async () => {
    let child: ActorRef<Node> | undefined;
    const parent = system.spawn<Node>(
      'parent',
      node((context) => (child = context.spawn<Node>('child', node()))),
    );
    await idle();
    const hanging = [child!, parent].map((ref) => ref.ask('hang', undefined, { timeoutMs: Infinity }));
    const rejected = Promise.allSettled(hanging);
    await idle();
    const stopping = system.stop();
    await clock.advance(1000);
    await stopping;
    expect(await rejected).toMatchObject([
      { reason: { code: 'ACTOR_STOPPED' } },
      { reason: { code: 'ACTOR_STOPPED' } },
    ]);
    expect(stopped).toEqual(['test/parent/child', 'test/parent']);
    expect(events.filter(({ type }) => type === 'abandoned')).toHaveLength(2);
    expect(clock.pending).toBe(0);
  });

  it('is bounded for hooks that hang, and an earlier deadline wins', async () => {
    const hanging = () => new Promise<void>(() => undefined);
    const receive = node()().receive;
    const ref = system.spawn<Node>('a', () => ({ receive, started: hanging, stopped: hanging }));
    const other = system.spawn<Node>('b', () => ({ receive, stopped: hanging }));
    await idle();
    const ended: string[] = [];
    const stopping = [
      ref.stop().then(() => ended.push('a')),
      other.stop({ timeoutMs: 1e6 }).then(() => ended.push('b')),
    ];
    void other.stop({ timeoutMs: 10 });
    await clock.advance(10);
    expect(ended).toEqual(['b']);
    await clock.advance(990);
    await Promise.all(stopping);
    expect(ended).toEqual(['b', 'a']);
  });

  it('can be wished for by the actor itself', async () => {
    const ref = system.spawn<Node>('node', node());
    const asks = [ref.ask('stopYourself'), ref.ask('work', 1).catch(() => 'rejected')];
    expect(await Promise.all(asks)).toEqual(['bye', 'rejected']);
    await idle();
    expect(stopped).toEqual(['test/node']);
  });

  it('aborts the signal at once, and the context is of no use afterwards', async () => {
    let kept: Context<Node> | undefined;
    const ref = system.spawn<Node>(
      'node',
      node((context) => (kept = context)),
    );
    await idle();
    expect(kept!.signal.aborted).toBe(false);
    const stopping = ref.stop();
    expect(kept!.signal.aborted).toBe(true);
    await stopping;
    expect(() => kept!.spawn<Node>('child', node())).toThrow('stopped');
    expect(() => kept!.after(1, 'hang', undefined)).toThrow('stopped');
    expect(kept!.takeWaiting('work', 10)).toEqual([]);
    expect(kept!.crash(new Error('late'))).toBe(NO_REPLY);
  });

  it('frees the name', async () => {
    const ref = system.spawn<Node>('node', node());
    expect(() => system.spawn<Node>('node', node())).toThrow('test/node already exists');
    expect(() => system.spawn<Node>('no/de', node())).toThrow('letters, digits');
    await ref.stop();
    const next = system.spawn<Node>('node', node());
    expect(await next.ask('stopYourself')).toBe('bye');
  });

  it('also comes at the end of an await using block', async () => {
    {
      await using scope = new ActorSystem({ clock });
      scope.spawn<Node>('node', node());
      await idle();
    }
    expect(stopped).toEqual(['actors/node']);
  });

  it('survives an event listener that throws', async () => {
    const throwing = new ActorSystem({
      clock,
      onEvent: () => {
        throw new Error('listener');
      },
    });
    throwing.spawn<Node>('node', node());
    await throwing.stop();
  });
});
