import { AntiphonError, type Beat, beatSubject, encodeBeat } from '@antiphon/core';
import { memoryBus, VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { parseBalance, type BalanceOptions } from './balance-options.js';
import { explained, ReadRouter, type Read } from './read-router.js';
import { ReplicaTable } from './replica-table.js';

type Behaviour = (signal: AbortSignal) => Promise<string>;

function beatOf(id: string, known: Partial<Beat> = {}): Beat {
  return {
    ...{ id, instance: `${id}-1`, startedAtMs: 0, lifecycle: id === 'p' ? 'primary' : 'following' },
    ...{ generation: 'g', seq: 1, appliedSeq: 1, waitsFor: {}, waitsWhy: {}, strangers: [], vector: {} },
    ...{ lagEntries: 0, lagMs: 0, unpublished: 0, nowMs: 0, primary: { epoch: 0, id: 'p' } },
    reads: { weight: 1, isDrained: false },
    ...known,
  };
}

const gone = (): AntiphonError => new AntiphonError('NO_ACTOR', 'Nobody listens.');
const ofReplica = (code: 'STORE_FAILED' | 'NOT_IN_SYNC' | 'BAD_SQL'): AntiphonError =>
  new AntiphonError(code, 'It says so.', { context: { remoteCode: code } });

/** A primary `p` and replicas `a` and `b`, on a simulated clock and bus. */
class Bench {
  readonly clock = new VirtualClock({ seed: 3 });
  readonly bus = memoryBus({ clock: this.clock }).connect();
  readonly asked: string[] = [];
  readonly beats = new Map(['p', 'a', 'b'].map((id) => [id, beatOf(id)]));
  readonly behaviour = new Map<string, Behaviour>();
  members = ['p', 'a', 'b'];
  readonly table: ReplicaTable;
  readonly router: ReadRouter;

  constructor(balance: BalanceOptions = {}) {
    const source = {
      ...{ bus: this.bus, cluster: 'shop', members: () => Promise.resolve(this.members) },
      beatOf: (id: string): Promise<Beat> => {
        const beat = this.beats.get(id);
        return beat === undefined ? Promise.reject(gone()) : Promise.resolve(beat);
      },
    };
    this.table = new ReplicaTable(source, this.clock);
    this.router = new ReadRouter(this.table, parseBalance(balance), this.clock, () => this.clock.random());
  }

  async start(): Promise<this> {
    await this.clock.run(this.table.start());
    return this;
  }

  says(id: string, known: Partial<Beat>): void {
    const beat = beatOf(id, known);
    this.beats.set(id, beat);
    this.bus.publish(beatSubject('shop', id), encodeBeat(beat));
  }

  read(over: Partial<Read<string>> = {}): Promise<string> {
    return this.clock.run(this.begin(over));
  }

  /** As `read`, and the clock stands still. */
  async begin(over: Partial<Read<string>> = {}): Promise<string> {
    const read: Read<string> = {
      ask: (id, { signal }) => {
        this.asked.push(id);
        return this.behaviour.get(id)?.(signal) ?? Promise.resolve(`of ${id}`);
      },
      needs: { primaryOnly: false, prefer: 'replicas' },
      timeoutMs: 5000,
      ...over,
    };
    return (await this.router.read(read)).value;
  }
}

/** Until it is given up. */
const never: Behaviour = (signal) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new AntiphonError('ABORTED', 'Given up.')));
  });

describe('a read', () => {
  it('goes to one replica, and to the next one where nobody listens: a dead one costs one retry', async () => {
    const bench = await new Bench().start();
    bench.behaviour.set('a', () => Promise.reject(gone()));
    for (let n = 0; n < 20; n++) expect(await bench.read()).toBe('of b');
    expect(bench.asked.filter((id) => id === 'a')).toHaveLength(1);
    expect(bench.asked).not.toContain('p');
  });

  it('that a replica does not serve goes elsewhere, and leaves that replica its other reads', async () => {
    const bench = await new Bench({ policy: 'round-robin' }).start();
    for (const id of ['a', 'p']) bench.behaviour.set(id, () => Promise.reject(gone()));
    for (let n = 0; n < 4; n++) expect(await bench.read({ isNotServed: () => true })).toBe('of b');
    expect(bench.asked).toContain('a');
    bench.behaviour.clear();
    bench.asked.length = 0;
    for (let n = 0; n < 4; n++) await bench.read();
    expect(bench.asked).toContain('a');
  });

  it('gets the answer of the caller at once, and the replica is none the worse for it', async () => {
    const bench = await new Bench().start();
    for (const id of ['a', 'b']) bench.behaviour.set(id, () => Promise.reject(ofReplica('BAD_SQL')));
    for (let n = 0; n < 5; n++) await expect(bench.read()).rejects.toMatchObject({ code: 'BAD_SQL' });
    expect(bench.asked).toHaveLength(5);
    expect(bench.router.explain({ primaryOnly: false, prefer: 'replicas' }).replicas).toHaveLength(2);
  });

  it('leaves a replica that fails alone, and tries it again with one read at a time', async () => {
    const bench = await new Bench().start();
    bench.behaviour.set('a', () => Promise.reject(ofReplica('STORE_FAILED')));
    for (let n = 0; n < 30; n++) await bench.read();
    expect(bench.asked.filter((id) => id === 'a')).toHaveLength(3);
    await bench.clock.advance(400);
    bench.asked.length = 0;
    for (let n = 0; n < 30; n++) await bench.read();
    expect(bench.asked.filter((id) => id === 'a')).toHaveLength(1);
    bench.behaviour.delete('a');
    await bench.clock.advance(1000);
    bench.asked.length = 0;
    for (let n = 0; n < 30; n++) await bench.read();
    expect(bench.asked.filter((id) => id === 'a').length).toBeGreaterThan(5);
  });

  it('that ends after its replica was removed and added again does not count for the new one', async () => {
    const bench = await new Bench().start();
    let end: (value: string) => void = () => undefined;
    const late: Behaviour = () => new Promise((resolve) => (end = resolve));
    bench.behaviour.set('a', late).set('b', late);
    const read = bench.begin();
    const [asked = ''] = bench.asked;
    const outstanding = (): number | undefined =>
      bench.table.views().find(({ id }) => id === asked)?.outstanding;
    expect(outstanding()).toBe(1);
    bench.members = ['p'];
    await bench.table.refresh();
    bench.members = ['p', 'a', 'b'];
    await bench.table.refresh();
    expect(outstanding()).toBe(0);
    end('late');
    expect(await read).toBe('late');
    expect(outstanding()).toBe(0);
  });

  it('is asked elsewhere when its replica falls silent, is another process, or has gone', async () => {
    for (const ending of ['silent', 'restarted', 'gone'] as const) {
      const bench = await new Bench({ silenceMs: 2000 }).start();
      bench.behaviour.set('a', never);
      bench.behaviour.set('b', never);
      const read = bench.read({ timeoutMs: 20_000 });
      const [first = ''] = bench.asked;
      bench.behaviour.delete(first === 'a' ? 'b' : 'a');
      if (ending === 'silent') bench.beats.set(first, never(new AbortController().signal) as unknown as Beat);
      if (ending === 'restarted') bench.says(first, { instance: 'another' });
      if (ending === 'gone') bench.beats.delete(first);
      const startedMs = bench.clock.monotonicMs();
      expect(await read).toBe(`of ${first === 'a' ? 'b' : 'a'}`);
      expect(bench.clock.monotonicMs() - startedMs).toBeLessThan(ending === 'silent' ? 3000 : 1000);
    }
  });

  it('waits out a moment in which nobody can serve it, and ends with what was in the way', async () => {
    const bench = await new Bench().start();
    for (const id of ['p', 'a', 'b']) bench.behaviour.set(id, () => Promise.reject(ofReplica('NOT_IN_SYNC')));
    const read = bench.read();
    await bench.clock.advance(1000);
    bench.behaviour.clear();
    expect(await read).toMatch(/^of /);
    for (const id of ['p', 'a', 'b']) bench.behaviour.set(id, () => Promise.reject(ofReplica('NOT_IN_SYNC')));
    await expect(bench.read({ timeoutMs: 500 })).rejects.toMatchObject({ code: 'NOT_IN_SYNC' });
  });

  it('spills to the primary up to its share, and says so beyond', async () => {
    const bench = await new Bench({ mostSpilled: 2 }).start();
    for (const id of ['a', 'b']) bench.says(id, { lifecycle: 'stalled' });
    await bench.clock.advance(10);
    bench.behaviour.set('p', never);
    const spilled = [bench.read(), bench.read()];
    await expect(bench.read({ timeoutMs: 200 })).rejects.toMatchObject({
      code: 'OVERLOADED',
      retriable: true,
    });
    expect(bench.asked).toEqual(['p', 'p']);
    bench.says('p', { instance: 'another' });
    bench.behaviour.delete('p');
    expect(await Promise.all(spilled), 'rather old rows than none').toEqual(['of a', 'of b']);
  });

  it('takes one turn of a round robin, and an explanation takes none', async () => {
    const bench = await new Bench({ policy: 'round-robin' }).start();
    const needs = { primaryOnly: false, prefer: 'any' } as const;
    for (let n = 0; n < 9; n++) {
      await bench.read({ needs });
      bench.router.explain(needs);
    }
    expect(bench.asked.join('')).toBe('pabpabpab');
  });

  it('that needs the primary follows it to where it is', async () => {
    const bench = await new Bench().start();
    const strong = { needs: { primaryOnly: true, prefer: 'replicas' } } as const;
    expect(await bench.read(strong)).toBe('of p');
    const moved = new AntiphonError('NOT_IN_SYNC', 'a is the primary now.', {
      context: { remoteCode: 'NOT_IN_SYNC', primary: 'a', epoch: 2 },
    });
    bench.behaviour.set('p', () => Promise.reject(moved));
    expect(await bench.read(strong)).toBe('of a');
    expect(await bench.read(strong)).toBe('of a');
    expect(bench.asked).toEqual(['p', 'p', 'a', 'a']);
  });

  it('that needs the primary is no wrong option where that was deposed a moment ago', async () => {
    const bench = await new Bench().start();
    const needs = { primaryOnly: true, prefer: 'replicas' } as const;
    const deposed = (primary: string): AntiphonError =>
      new AntiphonError('NOT_PRIMARY', 'It is not the primary.', {
        context: { remoteCode: 'NOT_PRIMARY', replica: 'p', primary, epoch: 2 },
      });
    bench.behaviour.set('p', () => Promise.reject(deposed('')));
    const read = bench.read({ needs, timeoutMs: 300 });
    await expect(read).rejects.toMatchObject({ code: 'NOT_IN_SYNC', retriable: true });
    bench.says('a', { lifecycle: 'primary', primary: { epoch: 3, id: 'a' } });
    expect(await bench.read({ needs })).toBe('of a');
    // Where nobody promises it, there is nobody else to ask.
    bench.behaviour.set('a', () => Promise.reject(deposed('')));
    bench.behaviour.set('b', () => Promise.reject(deposed('')));
    await expect(bench.read()).rejects.toMatchObject({ code: 'NOT_PRIMARY' });
  });

  it('goes to the zone of the reader while somebody serves there', async () => {
    const bench = await new Bench({ zone: 'eu' }).start();
    bench.says('a', { reads: { weight: 1, isDrained: false, zone: 'us' } });
    bench.says('b', { reads: { weight: 1, isDrained: false, zone: 'eu' } });
    await bench.clock.advance(10);
    for (let n = 0; n < 10; n++) expect(await bench.read()).toBe('of b');
    bench.says('b', { lifecycle: 'stalled' });
    await bench.clock.advance(10);
    for (let n = 0; n < 10; n++) expect(await bench.read()).toBe('of a');
  });

  it('may wait for as long as it has where nobody else is left', async () => {
    const bench = await new Bench().start();
    const lasts: [string, boolean][] = [];
    const read = bench.read({
      ask: (id, { isLast }) => {
        lasts.push([id, isLast()]);
        return lasts.length < 3 ? Promise.reject(ofReplica('NOT_IN_SYNC')) : Promise.resolve(id);
      },
    });
    expect(await read).toBe('p');
    expect(lasts.map(([, isLast]) => isLast)).toEqual([false, false, true]);
  });

  it('is asked elsewhere soon although many wait, and began at different times', async () => {
    const bench = await new Bench().start();
    for (const id of ['a', 'b']) bench.behaviour.set(id, never);
    const read = (): Promise<string> => bench.begin({ timeoutMs: 20_000 });
    const early = Array.from({ length: 10 }, read);
    await bench.clock.advance(300);
    const late = Array.from({ length: 10 }, read);
    for (const id of ['a', 'b']) bench.beats.delete(id);
    const startedMs = bench.clock.monotonicMs();
    const answers = await bench.clock.run(Promise.all([...early, ...late]));
    expect(new Set(answers)).toEqual(new Set(['of p']));
    expect(bench.clock.monotonicMs() - startedMs).toBeLessThan(1000);
  });

  it('that its caller gives up ends at once, with the reason', async () => {
    const bench = await new Bench().start();
    for (const id of ['a', 'b']) bench.behaviour.set(id, never);
    const enough = new AbortController();
    const read = bench.read({ signal: enough.signal });
    enough.abort();
    await expect(read).rejects.toMatchObject({ code: 'ABORTED' });
    const [{ outstanding } = {}] = bench.router.explain({ primaryOnly: false, prefer: 'any' }).replicas;
    expect(outstanding).toBe(0);
  });

  it('is hedged after a while, for one read in ten, and the first answer counts', async () => {
    const bench = await new Bench({ hedgeAfterMs: 20 }).start();
    bench.behaviour.set('a', async (signal) => {
      await bench.clock.run(new Promise<void>((resolve) => bench.clock.setTimer(400, resolve)));
      signal.throwIfAborted();
      return 'of a, late';
    });
    const answers = await Promise.all(Array.from({ length: 40 }, () => bench.read()));
    const late = answers.filter((answer) => answer === 'of a, late').length;
    expect(bench.asked.length - 40, 'asked twice').toBeLessThanOrEqual(5);
    expect(bench.asked.length).toBeGreaterThan(40);
    // Of those that began there, all but the hedged ones: the first answer of these was another's.
    const hedged = bench.asked.length - 40;
    expect(late).toBe(bench.asked.filter((id) => id === 'a').length - hedged);
    expect(late).toBeGreaterThan(0);
  });
});

it('explains who is asked, and why not the others', async () => {
  const bench = await new Bench().start();
  bench.says('b', { reads: { weight: 1, isDrained: true } });
  await bench.clock.advance(10);
  const choice = bench.router.explain({ primaryOnly: false, prefer: 'replicas' });
  expect(explained(choice, 'least-outstanding')).toEqual([
    'a is asked: least-outstanding among a.',
    'b is drained. `antiphon resume b` ends that.',
    'Replicas are preferred to the primary.',
  ]);
});

it('asks nobody in the last moment of a read, which would say that the query is slow', async () => {
  const bench = await new Bench().start();
  for (const id of ['p', 'a', 'b']) bench.says(id, { reads: { weight: 1, isDrained: true } });
  await bench.clock.advance(10);
  const read = bench.read({ timeoutMs: 1001 }).catch((error: unknown) => error);
  bench.clock.setTimer(985, () => bench.says('a', {}));
  expect(await read).toMatchObject({ code: 'NO_ACTOR' });
  expect(bench.asked).toEqual([]);
});
