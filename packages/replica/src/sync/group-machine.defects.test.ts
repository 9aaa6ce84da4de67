import fc from 'fast-check';
import { AntiphonError, type Verdict } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { GroupWorld, tapes } from '../testing/group-world.js';
import { Tape } from '../testing/tape.js';
import { SyncWrite } from '../state/sync-write.js';
import { GROUP_TABLE, type GroupTable } from './group-machine.js';
import type { Effect, EventOf, EventType, StateName, StateOf, Step } from './group-states.js';
import * as steps from './group-steps.js';

/** Of these, one in a few dozen finds each defect. */
const RUNS = 4000;

type Defect<S extends StateName, E extends EventType> = (
  state: StateOf<S>,
  event: EventOf<E>,
  right: (event?: EventOf<E>) => Step,
) => Step;

/** The machine with another answer in one cell. */
function withDefect<S extends StateName, E extends EventType>(
  name: S,
  type: E,
  defect: Defect<S, E>,
  table: GroupTable = GROUP_TABLE,
): GroupTable {
  const cell = table[name][type] as unknown;
  const run = (state: StateOf<S>, event: EventOf<E>): Step =>
    defect(state, event, (other = event) => {
      if (typeof cell !== 'object') return steps.step(state as StateOf<StateName>);
      return (cell as { run(state: StateOf<S>, event: EventOf<E>): Step }).run(state, other);
    });
  return { ...table, [name]: { ...table[name], [type]: { to: 'same', run } } };
}

function without(step: Step, ...types: readonly Effect['type'][]): Step {
  return { ...step, effects: step.effects.filter(({ type }) => !types.includes(type)) };
}

function rolledBack(step: Step): Step {
  return { ...step, effects: [{ type: 'rollback' }, ...step.effects] };
}

const writesOf = ({ flight }: StateOf<'publishing' | 'lost' | 'stored' | 'awaited'>) =>
  flight.flying.map(({ write }) => write);

const DEFECTS: readonly (readonly [name: string, table: GroupTable, finds: RegExp])[] = [
  [
    'runs again what was not answered, without finding out',
    withDefect('publishing', 'unanswered', (state) =>
      steps.step(steps.ready(state, state.ownSeq), [
        { type: 'wait', writes: writesOf(state) },
        { type: 'put-back', writes: writesOf(state) },
      ]),
    ),
    /I2|I8/,
  ],
  [
    'commits in place although something came in between',
    withDefect('publishing', 'stored', ({ readSeq, ...state }, event) =>
      steps.stored({ ...state, readSeq: Math.max(readSeq, event.seq - 1) }, event),
    ),
    /I1/,
  ],
  [
    'commits in place what may be accepted by nobody',
    withDefect('publishing', 'stored', (_, event, right) => right({ ...event, accepted: true })),
    /I1/,
  ],
  [
    'takes a place that the log had given away before',
    withDefect('publishing', 'stored', (state, event) =>
      steps.stored({ ...state, readSeq: event.seq - 1 }, { ...event, accepted: true }),
    ),
    /I1/,
  ],
  [
    'takes an own entry behind the place that was expected for the end of a lost attempt',
    withDefect('searching', 'tail', (state, event, right) => {
      const { flight } = state.lost;
      if (state.endSeq <= flight.after) return right();
      const counter = Math.max(event.tail.counter, flight.firstCounter);
      return right({ ...event, tail: { ...event.tail, counter } });
    }),
    /I2|I8/,
  ],
  [
    'takes a no-op group for the end of a lost attempt without looking who has its counters',
    withDefect('no-op-publishing', 'stored', (state, { seq }, right) => {
      if (state.lost === undefined) return right();
      const tail = { counter: state.noOp.lastCounter, time: 0, groups: new Map<string, number>() };
      return rolledBack(steps.conclude({ memory: state.memory, lost: state.lost, endSeq: seq, tail }));
    }),
    /I2|I8/,
  ],
  [
    'takes a no-op group without an answer for one that is there',
    withDefect('no-op-publishing', 'unanswered', ({ memory, lost, noOp }, _, right) => {
      if (lost === undefined) return right();
      const tail = { counter: noOp.lastCounter, time: 0, groups: new Map<string, number>() };
      return rolledBack(steps.conclude({ memory, lost, endSeq: noOp.after, tail }));
    }),
    /I2|I8/,
  ],
  [
    'believes at the beginning that nothing is under way any more',
    withDefect('asking', 'own-end', ({ memory, lost }, { seq }, right) =>
      lost === undefined ? steps.step({ name: 'ready', memory, ownSeq: seq }, [], { type: 'look' }) : right(),
    ),
    /I2/,
  ],
  [
    'believes so after a no-op group that nobody accepts',
    withDefect('checking', 'tail', (state, event, right) => {
      const counter = Math.max(event.tail.counter, state.noOp.firstCounter);
      return state.lost === undefined ? right({ ...event, tail: { ...event.tail, counter } }) : right();
    }),
    /I2/,
  ],
  [
    'lets other programs have the numbers of a group that the log has',
    withDefect('publishing', 'stored', (_, __, right) => {
      const step = right();
      return step.state.name === 'reserving'
        ? { state: { ...step.state, name: 'awaited' }, effects: step.effects }
        : step;
    }),
    /I2/,
  ],
  [
    'lets them have those of a lost attempt that was found',
    withDefect('searching', 'tail', (_, __, right) => {
      const step = right();
      return step.state.name === 'numbering' ? steps.conclude(step.state) : step;
    }),
    /I2/,
  ],
  [
    'forgets the writes of a group that was refused',
    withDefect('publishing', 'refused', (_, __, right) => without(right(), 'put-back')),
    /I8|liveness/,
  ],
  [
    'keeps what came after a rejected write of its group',
    withDefect('awaited', 'applied', (_, event, right) => {
      const rejected = event.verdict?.rejected ?? [];
      const last = rejected.reduce((most, { counter }) => Math.max(most, counter), 0);
      const only = rejected.filter(({ counter }) => counter === last);
      return right({ ...event, verdict: { rejected: only } as unknown as Verdict });
    }),
    /I8|I2/,
  ],
  [
    'does not look whose counters a group has that the position has passed',
    withDefect('awaited', 'passed', (state) => steps.step(state)),
    /liveness/,
  ],
  [
    'runs a group again when its commit failed',
    withDefect('committing', 'commit-failed', (state) => {
      const writes = state.flight.flying.map(({ write }) => write);
      return steps.step(steps.ready(state, state.ownSeq), [
        { type: 'rollback' },
        { type: 'wait', writes },
        { type: 'put-back', writes },
      ]);
    }),
    /I2/,
  ],
  [
    'never tries the log again when nobody writes',
    withDefect('ready', 'turn', (_, { facts, ...event }, right) =>
      right({ ...event, facts: { ...facts, probes: false } }),
    ),
    /liveness/,
  ],
  [
    'leaves a transaction open when it was not answered',
    withDefect('publishing', 'stored', (_, __, right) => without(right(), 'rollback')),
    /open/,
  ],
  [
    'tells a closing replica that writes which were sent were not written',
    withDefect('lost', 'close', (state, { error }) =>
      steps.step(
        state,
        writesOf(state).map((write): Effect => ({
          type: 'reject',
          write,
          error: new AntiphonError('CLOSED', error.message),
        })),
      ),
    ),
    /I8/,
  ],
];

/** Its signal, its deadline and a close settle it also while its function runs. */
class ImpatientWrite extends SyncWrite {
  override readonly run = (): unknown => undefined;
}

/** It takes the end of its caller's patience for the end of its group. */
class HastyWrite extends SyncWrite {
  override get expired(): boolean {
    this.undone();
    return false;
  }
}

describe('the rules of the group machine find a write that', () => {
  it.each([
    ['can be given up between the run of its function and the sending of its group', ImpatientWrite],
    ['is given up when its time is up, and goes with its group', HastyWrite],
  ])('%s', { timeout: 120_000 }, async (_, kind) => {
    for (const [at, choices] of fc.sample(tapes, { numRuns: RUNS, seed: 8 }).entries()) {
      const violations = await new GroupWorld(new Tape(choices), at % 2 === 1, GROUP_TABLE, kind).run();
      if (violations.some((violation) => violation.startsWith('I8'))) return;
    }
    expect.fail('nothing was found');
  });
});

describe('the rules of the group machine find one that', () => {
  // Among them is one that finds the rarest, which one in some ten thousand does.
  const samples = fc.sample(tapes, { numRuns: RUNS, seed: 34 });

  it.each(DEFECTS)('%s', { timeout: 120_000 }, async (_, table, finds) => {
    const found = new Set<string>();
    for (const [at, choices] of samples.entries()) {
      const world = new GroupWorld(new Tape(choices), at % 2 === 1, table);
      for (const violation of await world.run()) found.add(violation);
      if ([...found].some((violation) => finds.test(violation))) return;
    }
    expect([...found]).toContain(String(finds));
  });
});
