import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { AntiphonError, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { SyncWrite } from '../state/sync-write.js';
import { GroupWorld, tapes } from '../testing/group-world.js';
import { Tape } from '../testing/tape.js';
import type { Flight } from './flight.js';
import { firstState, GROUP_TABLE, next, type Transition } from './group-machine.js';
import type { EventType, Facts, GroupEvent, GroupState, Memory, StateName, Step } from './group-states.js';
import { isDue, isUncertain } from './group-steps.js';

const at = { nowMs: 0, chance: 0 };
const error = new AntiphonError('LOG_UNAVAILABLE', 'made up');
const FACTS: Facts = {
  ...{
    nowMs: 0,
    waiting: 1,
    unpublished: 0,
    probes: false,
    stopped: undefined,
    connected: true,
    held: false,
  },
  ...{ recovering: false, saturated: false, farBehind: false, positionSeq: 4, ownCounter: 2 },
  ...{ uncreated: undefined, outOfSync: undefined },
};

function memory(foreign = false): Memory {
  return firstState(foreign).memory;
}

function flight(): Flight {
  const write = new SyncWrite(() => undefined, { acks: 'all', timeoutMs: 1e6 }, systemClock());
  write.promise.catch(() => undefined);
  write.giveUp(error);
  const ran = { type: 'ran', value: undefined, claims: [], id: { origin: 'a', counter: 3 } } as const;
  const flying = [{ write, ran }];
  return { origin: 'a', token: 't', firstCounter: 3, lastCounter: 3, flying, after: 4 };
}

function lost(foreign = false): GroupState {
  return { name: 'lost', memory: memory(foreign), flight: flight(), ownSeq: 4 };
}

/** All events in order, from a state. */
function play(state: GroupState, ...events: readonly GroupEvent[]): Step {
  let step: Step = { state, effects: [] };
  for (const event of events) step = next(step.state, event);
  return step;
}

/** What only a defect of a store or of an effect would bring about. */
const NOT_IN_THE_WORLD = new Set([
  'choosing failed ready',
  'local failed ready',
  'committing failed reserving',
  'committing failed awaited',
  'no-op-preparing captured unsure',
  'no-op-preparing captured lost',
  'no-op-preparing prepared unsure',
  'no-op-preparing prepared lost',
  'no-op-committing failed unsure',
  'no-op-committing failed lost',
  // A place that was given twice has stopped everything; elsewhere nothing is reserved where nobody
  // else writes.
  'stored turn awaited',
  'stored refused-own ready',
  'stored outcome ready',
]);

describe('the group machine', () => {
  it(
    'takes every way to another state that its table shows, and no other',
    { timeout: 120_000 },
    async () => {
      const taken = new Set<string>();
      for (const [index, choices] of fc.sample(tapes, { numRuns: 2500, seed: 4 }).entries()) {
        const world = new GroupWorld(new Tape(choices), index % 2 === 1);
        await world.run();
        for (const way of world.taken) taken.add(way);
      }
      const shown = new Set(ways());
      expect([...taken].filter((way) => !shown.has(way))).toEqual([]);
      const untaken = [...shown].filter((way) => !taken.has(way) && way.split(' ')[0] !== way.split(' ')[2]);
      expect(untaken.filter((way) => !NOT_IN_THE_WORLD.has(way))).toEqual([]);
    },
  );

  it('is drawn in docs/sync-machine.md as it is', () => {
    const page = readFileSync(new URL('../../../../docs/sync-machine.md', import.meta.url), 'utf8');
    // When the table has changed, what this test expects is the new picture.
    expect(/```mermaid\n([^`]*)```/.exec(page)?.[1]).toBe(`${diagram().join('\n')}\n`);
    for (const name of Object.keys(GROUP_TABLE)) expect(page).toContain(`\`${name}\``);
  });

  it('refuses an answer that nothing asked for', () => {
    for (const type of ['stored', 'committed', 'tail', 'reserved', 'chosen'] as const)
      expect(() => next(lost(), { type } as GroupEvent)).toThrow(/please report it/i);
  });

  it('I8: resolves a lost attempt before anything else, and believes only who has its counters', () => {
    const asking = play(lost(), { type: 'turn', facts: FACTS });
    expect(asking.ask).toEqual({ type: 'find-own-end' });
    // An own entry behind the place that was expected, which counts for nobody.
    const tail = { counter: 2, time: 0, groups: new Map() };
    const searched = play(asking.state, { type: 'own-end', seq: 9 }, { type: 'tail', tail, at });
    expect(searched.state).toMatchObject({ name: 'no-op-preparing', after: 9 });
    const found = { counter: 3, time: 0, groups: new Map([['t', 7]]) };
    const there = play(asking.state, { type: 'own-end', seq: 9 }, { type: 'tail', tail: found, at });
    expect(there.state).toMatchObject({ name: 'awaited', seq: 7, ownSeq: 9 });
  });

  it('I2: gives no numbers away at the beginning while no replica accepts the no-op group', () => {
    const prepared = {
      ...{ origin: 'a', token: 'n', message: { firstCounter: 3, lastCounter: 3 }, flying: [], failed: [] },
      ...{ leftOut: [], expired: false, readSeq: 4 },
    };
    const checking = play(
      firstState(true),
      { type: 'turn', facts: { ...FACTS, waiting: 0 } },
      { type: 'own-end', seq: 4 },
      { type: 'prepared', prepared },
      { type: 'stored', seq: 5, accepted: false },
    );
    expect(checking.state.name).toBe('checking');
    const tail = { counter: 2, time: 0, groups: new Map<string, number>() };
    const { state } = play(checking.state, { type: 'tail', tail, at });
    expect(state.name).toBe('unsure');
    expect(isUncertain(state, 0)).toBe(true);
    // Not fifty times a second.
    expect(play(state, { type: 'turn', facts: FACTS }).ask).toBeUndefined();
    const sure = play(
      checking.state,
      { type: 'tail', tail: { ...tail, counter: 3 }, at },
      { type: 'reserved' },
    );
    expect(sure).toMatchObject({ state: { name: 'ready', ownSeq: 5 }, ask: { type: 'look' } });
  });

  it('I2: runs a group again whose counters the log gave to another attempt of ours', () => {
    const awaited: GroupState = { name: 'awaited', memory: memory(), flight: flight(), ownSeq: 6, seq: 6 };
    expect(next(awaited, { type: 'passed', seq: 5 }).ask).toBeUndefined();
    const asks = next(awaited, { type: 'passed', seq: 6 });
    expect(asks.ask).toMatchObject({ type: 'find-outcome' });
    const { state, effects } = next(asks.state, { type: 'outcome', token: 'of another attempt' });
    expect(state.name).toBe('ready');
    expect(effects.map(({ type }) => type)).toContain('put-back');
  });

  it('I1: commits in place only right after what was read, and what every replica accepts', () => {
    const publishing: GroupState = { ...lost(), name: 'publishing', readSeq: 4 } as GroupState;
    const stored = (seq: number, accepted: boolean): string =>
      next(publishing, { type: 'stored', seq, accepted }).state.name;
    expect(stored(5, true)).toBe('committing');
    expect(stored(6, true)).toBe('awaited');
    expect(stored(5, false)).toBe('awaited');
    // I14: the log had given this place away before.
    expect(next(publishing, { type: 'stored', seq: 4, accepted: true })).toMatchObject({
      state: { name: 'stored' },
      effects: [{ type: 'log-takes' }, { type: 'place-given-twice', seq: 4 }],
    });
  });

  it('knows when the numbers of other programs are uncertain', () => {
    const uncertain = (state: GroupState, unpublished = 0): boolean => isUncertain(state, unpublished);
    expect(uncertain(firstState(false))).toBe(false);
    expect(uncertain(firstState(true))).toBe(true);
    expect(uncertain(firstState(true), 1)).toBe(false);
    expect(uncertain(lost(true), 1)).toBe(true);
    expect(uncertain(lost(false))).toBe(false);
    const logged = { ...lost(true), seq: 5 };
    expect(uncertain({ ...logged, name: 'stored' } as GroupState)).toBe(true);
    expect(uncertain({ ...logged, name: 'reserving' } as GroupState)).toBe(true);
    expect(uncertain({ ...logged, name: 'awaited' } as GroupState)).toBe(false);
    expect(uncertain({ ...logged, name: 'committing' } as GroupState)).toBe(false);
  });

  it.each([
    ['stopped', { stopped: error }, ['all-give-up', 'all-wait'], error],
    [
      'without a connection',
      { connected: false },
      ['all-wait'],
      expect.objectContaining({ code: 'LOG_UNAVAILABLE' }),
    ],
    ['held', { held: true }, ['all-wait'], undefined],
    ['recovering its own transactions', { recovering: true }, ['all-wait'], undefined],
    ['waiting for other programs to be published', { unpublished: 1 }, ['all-wait'], undefined],
    ['waiting for too many acknowledgements', { saturated: true }, ['all-wait'], undefined],
    ['far behind', { farBehind: true }, ['all-wait'], expect.objectContaining({ code: 'TIMEOUT' })],
    ['not created', { uncreated: error }, ['all-wait'], error],
    ['behind its own entries', { positionSeq: 3 }, [], undefined],
  ] as const)('begins nothing while it is %s, and says why', (_, changed, types, why) => {
    const ready: GroupState = { name: 'ready', memory: memory(), ownSeq: 4 };
    const { state, effects, ask } = next(ready, { type: 'turn', facts: { ...FACTS, ...changed } });
    expect(state).toEqual(ready);
    expect(ask).toBeUndefined();
    expect(effects.map(({ type }) => type)).toEqual(types);
    if (effects.length > 0) expect(effects.at(-1)).toEqual({ type: 'all-wait', why });
  });

  it('settles what was sent also while it is out of sync, but begins no new group', () => {
    const ready: GroupState = { name: 'ready', memory: memory(), ownSeq: 4 };
    const outOfSync = { ...FACTS, outOfSync: error };
    expect(next(ready, { type: 'turn', facts: outOfSync })).toMatchObject({
      state: { name: 'ready' },
      effects: [{ type: 'all-wait', why: error }],
    });
    expect(next(lost(), { type: 'turn', facts: outOfSync }).ask).toEqual({ type: 'find-own-end' });
    expect(next(lost(), { type: 'turn', facts: { ...FACTS, held: true } }).ask).toEqual({
      type: 'find-own-end',
    });
    const { state } = play(ready, { type: 'use-up', counter: 3 });
    expect(next(state, { type: 'turn', facts: outOfSync }).ask).toEqual({ type: 'prepare', writes: [] });
    // The counter was used meanwhile.
    const used = next(state, { type: 'turn', facts: { ...outOfSync, ownCounter: 3 } });
    expect(isDue(used.state, { ...FACTS, waiting: 0 })).toBe(false);
  });

  it('waits longer after each failure, up to a limit, and no more once the log takes something', () => {
    let state: GroupState = { name: 'ready', memory: memory(), ownSeq: 4 };
    const waits: number[] = [];
    for (let n = 0; n < 7; n++) {
      ({ state } = next(state, { type: 'failed', error, at }));
      waits.push(state.memory.trouble.notBeforeMs);
    }
    expect(waits).toEqual([20, 40, 80, 160, 320, 320, 320]);
    expect(next(state, { type: 'turn', facts: { ...FACTS, nowMs: 319 } }).ask).toBeUndefined();
    expect(next(state, { type: 'turn', facts: { ...FACTS, nowMs: 320 } }).ask).toEqual({ type: 'choose' });
    const publishing = { ...lost(), memory: state.memory, name: 'publishing', readSeq: 4 } as GroupState;
    const { state: after } = next(publishing, { type: 'stored', seq: 6, accepted: true });
    expect(after.memory.trouble.failures).toBe(0);
  });

  it('tries the log once a second while it is alarmed and nobody writes', () => {
    const ready: GroupState = { name: 'ready', memory: memory(), ownSeq: 4 };
    const alarmed = { ...FACTS, waiting: 0, probes: true };
    const { state } = play(ready, { type: 'turn', facts: alarmed }, { type: 'chosen', writes: [] });
    expect(state.name).toBe('preparing');
    expect(state.memory.trouble.probeNotBeforeMs).toBe(1000);
    expect(isDue({ ...ready, memory: state.memory }, { ...alarmed, nowMs: 999 })).toBe(false);
    expect(isDue({ ...ready, memory: state.memory }, { ...alarmed, nowMs: 1000 })).toBe(true);
  });

  it('gives up for good, and stalls, when no later turn goes better', () => {
    const drift = new AntiphonError('SCHEMA_DRIFT', 'made up');
    const preparing: GroupState = { name: 'preparing', memory: memory(), ownSeq: 4, writes: [] };
    expect(next(preparing, { type: 'failed', error: drift, at }).effects).toEqual([
      { type: 'put-back', writes: [] },
      { type: 'all-give-up', error: drift },
      { type: 'stall', error: drift },
    ]);
  });

  it('ends the alarm for a group that the database does not take, however the group ends', () => {
    const full = new AntiphonError('STORE_FULL', 'the disk is full');
    const committing = { ...lost(), name: 'committing', seq: 5 } as GroupState;
    const { state, effects } = next(committing, { type: 'commit-failed', error: full, at });
    expect(effects.map(({ type }) => type)).toEqual(['commit-alarm', 'held', 'rollback']);
    // What waits behind it is told why.
    const waiting = next(state, { type: 'turn', facts: FACTS });
    expect(waiting.effects).toMatchObject([{ type: 'all-wait', why: { code: 'STORE_FULL' } }]);
    const ends: readonly GroupEvent[] = [
      { type: 'applied', token: 't', seq: 5, verdict: undefined },
      { type: 'refused-own', seq: 5, error },
      { type: 'outcome', token: 'another' },
      { type: 'outcome', token: undefined },
    ];
    for (const end of ends) expect(next(state, end).effects).toContainEqual({ type: 'commit-alarm-ends' });
  });
});

type AnyTransition = Transition<StateName, EventType>;

/** `from event to`, for all that can happen by the table. */
function ways(): readonly string[] {
  return Object.entries(GROUP_TABLE).flatMap(([from, row]) =>
    Object.entries(row).flatMap(([type, cell]: [string, 'ignore' | 'defect' | Pick<AnyTransition, 'to'>]) => {
      if (cell === 'defect') return [];
      const targets = cell === 'ignore' || cell.to === 'same' ? [from] : cell.to;
      return targets.map((to) => `${from} ${type} ${to}`);
    }),
  );
}

/** Ways that lead to another state, with all events between the same two on one arrow. */
function diagram(): readonly string[] {
  const arrows = new Map<string, string[]>();
  for (const way of ways()) {
    const [from = '', type = '', to = ''] = way.split(' ');
    if (from === to) continue;
    const arrow = `${drawn(from)} --> ${drawn(to)}`;
    arrows.set(arrow, [...(arrows.get(arrow) ?? []), type]);
  }
  const named = Object.keys(GROUP_TABLE).filter((name) => drawn(name) !== name);
  return [
    'stateDiagram-v2',
    ...named.map((name) => `  state "${name}" as ${drawn(name)}`),
    `  [*] --> ${firstState(false).name}`,
    ...[...arrows].map(([arrow, types]) => `  ${arrow}: ${types.join(', ')}`),
  ];
}

/** Mermaid takes no hyphens in names. */
function drawn(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
