import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MAX_PIPELINED, Turns } from './turns.js';

describe('Turns', () => {
  it('begins requests in their order, a few in each turn of the event loop', async () => {
    const turns = new Turns();
    const begun: number[] = [];
    const sockets = [new Socket(), new Socket()];
    for (let i = 0; i < 100; i++) turns.take(sockets[i % 2] as Socket, () => void begun.push(i));
    const counts = [begun.length];
    while (begun.length < 100 && counts.length < 200) {
      await nextTurn();
      counts.push(begun.length);
    }
    expect(begun).toEqual(Array.from({ length: 100 }, (_, i) => i));
    const steps = counts.map((count, index) => count - (counts[index - 1] ?? 0));
    expect(Math.max(...steps)).toBe(16);
    await nextTurn();
    await nextTurn();
    let atOnce = false;
    turns.take(new Socket(), () => void (atOnce = true));
    expect(atOnce, 'one that comes alone does not wait').toBe(true);
  });

  it('takes so many of one connection that are not answered, and of others as well', () => {
    const turns = new Turns();
    const [busy, other] = [new Socket(), new Socket()];
    const taken = Array.from({ length: MAX_PIPELINED + 1 }, () => turns.take(busy, () => undefined));
    expect(taken.indexOf(false)).toBe(MAX_PIPELINED);
    expect(turns.take(other, () => undefined)).toBe(true);
    turns.ended(busy);
    expect(turns.take(busy, () => undefined)).toBe(true);
  });

  it('leaves out what waits of a connection that is gone', async () => {
    const turns = new Turns();
    const [gone, there] = [new Socket(), new Socket()];
    const begun: string[] = [];
    for (let i = 0; i < 30; i++) turns.take(gone, () => void begun.push('gone'));
    turns.take(there, () => void begun.push('there'));
    gone.destroy();
    for (let i = 0; i < 5; i++) await nextTurn();
    expect(begun.filter((one) => one === 'gone')).toHaveLength(16);
    expect(begun.at(-1)).toBe('there');
  });
});
