import { describe, expect, it } from 'vitest';
import type { Member, Picture, Status } from '../data/cluster.js';
import { nothingSeen, observe, type Observed } from './observe.js';
import { columnsOf, MAX_SAMPLES, newestOf } from './samples.js';
import { verdictOf } from './verdict.js';

const START_MS = 1_700_000_000_000;

/** As much of a status as the page looks at first. */
function member(id: string, lifecycle: Status['lifecycle'], more: Partial<Status> = {}): Member {
  const status = {
    ...{ id, instance: `${id}-1`, lifecycle, connection: 'connected', role: 'replica', nowMs: START_MS },
    ...{
      alarms: [],
      waitingFor: [],
      members: [],
      conflicts: 0,
      quarantined: 0,
      rescued: 0,
      reads: { weight: 1 },
    },
    ...{
      lag: { entries: 0, seconds: 0 },
      position: { seq: 10 },
      log: { lastSeq: 10 },
      vector: {},
      lastCounter: 0,
    },
    ...{ totals: {}, epoch: { number: 1, primary: 'a', seq: 1 } },
    ...more,
  };
  return { id, status: status as unknown as Status };
}

const silent = (id: string): Member => ({ id, error: { code: 'NO_ACTOR', message: 'Nobody answers.' } });

function picture(members: readonly Member[], primary = 'a', atMs = START_MS): Picture {
  const failover = { mode: 'automatic', leaseMs: 2000 } as const;
  return { cluster: 'shop', seenBy: 'b', atMs, role: 'admin', primary, failover, members };
}

const well = picture([member('a', 'primary'), member('b', 'following')]);
const seen = (...pictures: readonly Picture[]): Observed => pictures.reduce(observe, nothingSeen);
const epoch = { number: 2, primary: 'b', seq: 11, why: 'failover' };

describe('a failover', () => {
  const away = picture([silent('a'), member('b', 'following')], 'a', START_MS + 1000);
  const over = picture([silent('a'), member('b', 'primary', { epoch })], 'b', START_MS + 3500);

  it('is told step by step, and for how long nobody was the primary', () => {
    const first = seen(well, away);
    expect(first.missed).toEqual({ id: 'a', sinceMs: away.atMs });
    expect(verdictOf(away, first.missed)).toMatchObject({
      ...{ tone: 'bad', headline: 'The primary, a, does not answer' },
      detail: expect.stringContaining(
        'Another replica takes over once its lease (2.0 s) has run out.',
      ) as string,
    });
    const then = observe(first, over);
    expect(then.missed).toBeUndefined();
    expect(then.takeover).toMatchObject({ from: 'a', to: 'b', epoch: 2, why: 'failover', tookMs: 2500 });
    expect(then.happenings.map(({ text }) => text)).toEqual([
      ...['b is the primary: epoch 2, failover, from entry 11 of the log on.', 'b: following → primary.'],
      'a does not answer (away).',
    ]);
  });

  it('is the same where the page first heard of the next primary while that was not one yet', () => {
    const between = picture([silent('a'), member('b', 'catching-up', { epoch })], 'b', START_MS + 2000);
    const { missed } = seen(well, away, between);
    expect(missed).toEqual({ id: 'b', sinceMs: away.atMs });
  });

  it.each([
    ['without failover', undefined, 'No replica takes over: the cluster was created without failover.'],
    ['by hand', { mode: 'manual', leaseMs: 2000 } as const, 'No replica takes over by itself.'],
  ])('%s says that nobody comes', (_, failover, says) => {
    const { failover: _auto, ...rest } = away;
    const { detail } = verdictOf({ ...rest, ...(failover && { failover }) }, undefined);
    expect(detail).toContain(says);
  });
});

describe('the verdict', () => {
  it.each<[string, Picture, string]>([
    ['all', well, 'All is well'],
    [
      'stalled',
      picture([
        member('a', 'primary'),
        member('b', 'stalled', { stalled: { message: 'It has.' } as Status['stalled'] & object }),
      ]),
      'b is stalled',
    ],
    ['a silent follower', picture([member('a', 'primary'), silent('b')]), 'b does not answer'],
    [
      'a primary without its lease',
      picture([member('a', 'suspended'), member('b', 'following')]),
      'The primary, a, is suspended',
    ],
    [
      'no NATS',
      picture([silent('a'), member('b', 'following', { connection: 'reconnecting' })]),
      'b, which serves this page, has no connection to NATS (reconnecting)',
    ],
    ['a lag', picture([member('a', 'primary'), member('b', 'catching-up')]), 'b is catching up'],
  ])('%s', (_, shown, headline) => {
    expect(verdictOf(shown, undefined).headline).toBe(headline);
  });
});

describe('samples', () => {
  const at = (second: number, counter: number, writes: number): Picture => {
    const totals = { acknowledgedWrites: writes, acknowledgedMs: writes * 4 };
    const nowMs = START_MS + second * 1000;
    return picture(
      [member('a', 'primary', { nowMs, lastCounter: counter, vector: { x: 5 }, totals })],
      'a',
      nowMs,
    );
  };

  it('have rates for a second, and nothing where nothing was written', () => {
    const { samples } = seen(at(0, 0, 0), at(1, 100, 10), at(2, 100, 10));
    expect(columnsOf(samples, ['a'], 'rate')[1]).toEqual([null, 100, 0]);
    expect(columnsOf(samples, ['a'], 'writeMs')[1]).toEqual([null, 4, null]);
    expect(newestOf(samples, 'a', 'seq')).toBe(10);
  });

  it('keep the last of them, and skip what comes in between', () => {
    let observed = nothingSeen;
    for (let second = 0; second < MAX_SAMPLES + 20; second++)
      observed = observe(observed, at(second, second, 0));
    expect(observed.samples.all).toHaveLength(MAX_SAMPLES);
    expect(observe(observed, at(MAX_SAMPLES + 19.2, 0, 0)).samples).toBe(observed.samples);
  });

  it('begin anew with another process of a replica', () => {
    const again = at(1, 7, 1);
    const [first] = again.members;
    const restarted = { ...again, members: [{ ...first!, status: { ...first!.status!, instance: 'a-2' } }] };
    expect(columnsOf(seen(at(0, 5000, 9), restarted).samples, ['a'], 'rate')[1]).toEqual([null, null]);
  });
});
