import { VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import { Conflicts } from '../state/conflicts.js';
import { Health } from '../state/health.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { EventQueue } from './event-queue.js';
import { eventsOf, MAX_UNREAD_EVENTS } from './events.js';
import { eventsBetween, type HealthPicture } from './replica-event.js';

const CALM: HealthPicture = {
  ...{ state: 'following', stalled: undefined, holding: undefined, waiting: [], alarms: [] },
  ...{ connection: 'connected', quarantined: 0, rescued: 0, epoch: undefined },
};
const stalled = { code: 'SCHEMA_DRIFT', message: 'It drifted.', sinceMs: 5 } as const;
const holding = {
  code: 'CONSTRAINT',
  origin: 'b',
  counter: 7,
  seq: 9,
  message: 'No.',
  sinceMs: 5,
  attempts: 1,
};
const waiting = { origin: 'b', expected: 4, found: 6, seq: 12, reason: 'It is missing.', sinceMs: 5 };
const alarm = {
  ...{ name: 'clock', message: 'It is late.', section: 'alarm-clock' },
  ...{ sinceMs: 5, count: 1 },
};

const seen = (before: HealthPicture | undefined, now: HealthPicture): string[] =>
  eventsBetween(before, now).map((event) => `${event.type} ${'phase' in event ? event.phase : ''}`.trim());

describe('what has happened between two pictures', () => {
  it('is nothing when they show the same', () => {
    const busy = {
      ...CALM,
      state: 'stalled',
      stalled,
      holding,
      waiting: [waiting],
      alarms: [alarm],
    } as const;
    expect(seen(CALM, { ...CALM })).toEqual([]);
    expect(seen(busy, structuredClone(busy))).toEqual([]);
  });

  it.each<[string, Partial<HealthPicture>]>([
    ['stall', { stalled }],
    ['hold', { holding }],
    ['waiting', { waiting: [waiting] }],
    ['alarm', { alarms: [alarm] }],
  ])('%s: its beginning and its end', (type, troubled) => {
    expect(seen(CALM, { ...CALM, ...troubled })).toEqual([`${type} begin`]);
    expect(seen({ ...CALM, ...troubled }, CALM)).toEqual([`${type} end`]);
  });

  it('is not another one that is tried or counted again', () => {
    expect(seen({ ...CALM, holding }, { ...CALM, holding: { ...holding, attempts: 9 } })).toEqual([]);
    const other = { ...holding, code: 'SCHEMA_DRIFT', seq: undefined, attempts: 9 } as const;
    expect(seen({ ...CALM, holding }, { ...CALM, holding: other as never })).toEqual([]);
    expect(seen({ ...CALM, alarms: [alarm] }, { ...CALM, alarms: [{ ...alarm, count: 9 }] })).toEqual([]);
  });

  it('is the end of one and the beginning of another, also under the same name', () => {
    const later = { ...alarm, sinceMs: 8 };
    expect(seen({ ...CALM, alarms: [alarm] }, { ...CALM, alarms: [later] })).toEqual([
      'alarm end',
      'alarm begin',
    ]);
    const next = { ...holding, counter: 8, seq: 10, sinceMs: 8 };
    expect(seen({ ...CALM, holding }, { ...CALM, holding: next })).toEqual(['hold end', 'hold begin']);
  });

  it('of a stall: what it stops ends', () => {
    const before = { ...CALM, state: 'holding', holding, alarms: [alarm] } as const;
    expect(seen(before, { ...CALM, state: 'stalled', stalled })).toEqual([
      ...['state', 'stall begin', 'hold end', 'alarm end'],
    ]);
  });

  it('with nothing before: how it is', () => {
    expect(seen(undefined, CALM)).toEqual(['state', 'connection']);
    expect(eventsBetween(undefined, { ...CALM, quarantined: 2, alarms: [alarm] })).toEqual([
      { type: 'state', state: 'following' },
      { type: 'alarm', phase: 'begin', alarm },
      { type: 'connection', connection: 'connected' },
      { type: 'quarantine', messages: 2, before: 0 },
    ]);
  });
});

describe('I11: the events that nobody has read', () => {
  it('are dropped, the oldest first, and counted', () => {
    const queue = new EventQueue<number>(3);
    for (let event = 1; event <= 5; event++) queue.push(event);
    expect(queue.takeDropped()).toBe(2);
    expect(queue.takeDropped()).toBe(0);
    expect([queue.take(), queue.take(), queue.take(), queue.take()]).toEqual([3, 4, 5, undefined]);
  });

  it('wake their reader', async () => {
    const queue = new EventQueue<number>(3);
    const woken = queue.woken();
    queue.push(1);
    await woken;
    expect(queue.take()).toBe(1);
  });

  it('are said to be lost before the ones that are left', async () => {
    const clock = new VirtualClock();
    const health = new Health(() => 'replica', clock, silentLogger);
    const quiet = { onConnection: () => () => undefined, onMove: () => () => undefined };
    const scope = {
      ...{ clock, health, conflicts: new Conflicts(health, clock, 'async'), limits: { beatMs: 1000 } },
      ...{ log: { connection: 'connected', ...quiet }, progress: quiet },
      authority: { byTerm: false, onChange: () => () => undefined },
      store: { state: () => ({ quarantined: 0, rescued: 0 }) },
    } as unknown as ReplicaScope;
    const events = eventsOf(scope, {});
    for (let round = 0; round < MAX_UNREAD_EVENTS; round++) {
      health.alarm('log', 'It does not answer.');
      health.clearAlarm('log');
    }
    const first = await events.next();
    expect(first.value).toMatchObject({ type: 'dropped', events: MAX_UNREAD_EVENTS + 2 });
    for (let left = 0; left < MAX_UNREAD_EVENTS; left++)
      expect((await events.next()).value).toMatchObject({
        type: 'alarm',
        phase: left % 2 === 0 ? 'begin' : 'end',
      });
    const next = events.next();
    health.alarm('clock', 'It is late.');
    expect((await next).value).toMatchObject({ phase: 'begin', alarm: { name: 'clock' } });
    for (const event of ['close', 'closed'] as const) health.handle(event);
    expect((await events.next()).value).toMatchObject({ state: 'closing', before: 'joining' });
    expect((await events.next()).value).toMatchObject({ state: 'closed' });
    expect(await events.next()).toEqual({ done: true, value: undefined });
  });
});
