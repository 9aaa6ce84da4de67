import { systemClock } from '@antiphon/core';
import { createConnection, createServer } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../test/manual-clock.js';
import { ActorSystem, type ActorRef } from './index.js';

interface Busy {
  work(ms: number): void;
  ping(partner: ActorRef<Busy>): void;
}

const busy = (spend: (ms: number) => void) => () => ({
  receive: {
    work: spend,
    ping: (partner: ActorRef<Busy>, { self }: { self: ActorRef<Busy> }) => void partner.tell('ping', self),
  },
});

/** Synchronous work that takes real time. */
function burn(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

describe('a turn', () => {
  it('ends after its budget of time, however many messages wait', async () => {
    const clock = new ManualClock();
    const system = new ActorSystem({ clock, turnBudgetMs: 10 });
    const ref = system.spawn<Busy>(
      'busy',
      busy((ms) => clock.spend(ms)),
    );
    for (let index = 0; index < 100; index++) ref.tell('work', 4);
    await new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
    await idle();
    // 4 + 4 + 4 ms reach the budget of 10: three messages a turn.
    while (ref.stats.waiting > 0) await idle();
    expect(clock.yields).toBeGreaterThanOrEqual(33);
    expect(clock.yields).toBeLessThanOrEqual(35);
  });

  it('ends after many messages where time stands still', async () => {
    const clock = new ManualClock();
    const system = new ActorSystem({ clock });
    const left = system.spawn<Busy>(
      'left',
      busy(() => undefined),
    );
    const right = system.spawn<Busy>(
      'right',
      busy(() => undefined),
    );
    left.tell('ping', right);
    await idle(); // Never comes if two actors can keep the loop to themselves.
    expect(left.stats.handled).toBeGreaterThan(1000);
    await system.stop();
  });

  it('is shared fairly by busy actors', async () => {
    const clock = new ManualClock();
    const system = new ActorSystem({ clock });
    const actors = ['a', 'b', 'c'].map((name) =>
      system.spawn<Busy>(
        name,
        busy((ms) => clock.spend(ms)),
      ),
    );
    for (let index = 0; index < 3000; index++) for (const ref of actors) ref.tell('work', 0.1);
    while (actors.every((ref) => ref.stats.waiting > 0))
      await new Promise((resolve) => setImmediate(resolve));
    const handled = actors.map((ref) => ref.stats.handled);
    expect(Math.max(...handled) - Math.min(...handled)).toBeLessThanOrEqual(200);
  });

  it('lets real timers and sockets go on beside a flooded actor', async () => {
    const system = new ActorSystem({ clock: systemClock() });
    const ref = system.spawn<Busy>('busy', busy(burn));
    const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    for (let index = 0; index < 400; index++) ref.tell('work', 1);
    const socket = createConnection(port, '127.0.0.1');
    socket.write('hello');
    await once(socket, 'data');
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(ref.stats.waiting).toBeGreaterThan(0);
    socket.destroy();
    server.close();
    await system.stop();
  });
});
