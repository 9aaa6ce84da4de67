import { AntiphonError } from '@antiphon/core';
import type {
  EventOf,
  EventType,
  GroupEvent,
  GroupState,
  Memory,
  StateName,
  StateOf,
  Step,
} from './group-states.js';
import * as steps from './group-steps.js';
import { NO_TROUBLE } from './log-trouble.js';

/**
 * `to`: the states that it may lead to, for the picture (docs/sync-machine.md). `same`: the state
 * keeps its name.
 */
export interface Transition<S extends StateName, E extends EventType> {
  readonly to: readonly StateName[] | 'same';
  readonly run: (state: StateOf<S>, event: EventOf<E>) => Step;
}

/** `ignore`: stays as it is. `defect`: the event cannot come in this state. */
export type Cell<S extends StateName, E extends EventType> = 'ignore' | 'defect' | Transition<S, E>;
type Row<S extends StateName> = { readonly [E in EventType]: Cell<S, E> };
export type GroupTable = { readonly [S in StateName]: Row<S> };

function to<S extends StateName, E extends EventType, T extends StateName>(
  targets: readonly T[],
  run: (state: StateOf<S>, event: EventOf<E>) => Step<T>,
): Transition<S, E> {
  return { to: targets, run };
}

function same<S extends StateName, E extends EventType>(
  run: (state: StateOf<S>, event: EventOf<E>) => Step,
): Transition<S, E> {
  return { to: 'same', run };
}

const failing = same<StateName, 'failed'>((state, event) => steps.fail(state, event));
const failingAs = <S extends StateName>(next: (state: StateOf<S>) => StateOf<'ready'>) =>
  to<S, 'failed' | 'commit-failed', 'ready'>(['ready'], (state, event) => steps.fail(next(state), event));

/** What comes from outside at any time. */
const ANY_TIME = {
  'use-up': same<StateName, 'use-up'>((state, { counter }) => steps.step(steps.useUp(state, counter))),
  'saw-own': same<StateName, 'saw-own'>((state, { seq }) => steps.step(steps.sawOwn(state, seq))),
  close: same<StateName, 'close'>((state, { error }) => steps.close(state, error)),
  deposed: same<StateName, 'deposed'>((state, { error }) => steps.deposed(state, error)),
} as const;

/** Answers come in the state that asked. */
const NO_ANSWER = {
  chosen: 'defect',
  'own-end': 'defect',
  tail: 'defect',
  prepared: 'defect',
  captured: 'defect',
  sealed: 'defect',
  stored: 'defect',
  refused: 'defect',
  unanswered: 'defect',
  committed: 'defect',
  'commit-failed': 'defect',
  reserved: 'defect',
  outcome: 'defect',
} as const;

/** Between turns. */
const RESTING = {
  ...ANY_TIME,
  ...NO_ANSWER,
  applied: 'ignore',
  'refused-own': same<StateName, 'refused-own'>((state, { seq, error }) =>
    steps.step(steps.rememberRefused(state, seq, error)),
  ),
  passed: 'ignore',
  failed: failing,
} as const;

/** Within a turn. What the log brings has turns of its own. */
const WORKING = {
  ...ANY_TIME,
  ...NO_ANSWER,
  turn: 'defect',
  applied: 'defect',
  'refused-own': 'defect',
  passed: 'defect',
} as const;

/** Nothing of a no-op group is in doubt: whoever wanted it starts again. */
const RESOLVING = {
  ...WORKING,
  failed: to<
    | 'asking'
    | 'searching'
    | 'no-op-preparing'
    | 'no-op-publishing'
    | 'no-op-committing'
    | 'checking'
    | 'numbering',
    'failed',
    'unsure' | 'lost'
  >(['unsure', 'lost'], (state, event) => steps.fail(steps.asBefore(state, state.lost), event)),
} as const;

const RESTING_ROWS: Pick<GroupTable, 'unsure' | 'ready' | 'lost' | 'stored' | 'awaited'> = {
  unsure: {
    ...RESTING,
    turn: to(['unsure', 'asking'], (state, { facts }) => {
      const { memory } = state;
      return (
        steps.rests(state, facts) ?? steps.step({ name: 'asking', memory }, [], { type: 'find-own-end' })
      );
    }),
  },
  ready: {
    ...RESTING,
    turn: to(['ready', 'choosing', 'preparing'], (state, { facts }) => {
      return steps.rests(state, facts) ?? steps.choose(state, facts);
    }),
  },
  lost: {
    ...RESTING,
    turn: to(['lost', 'asking'], (state, { facts }) => {
      const { memory, flight, ownSeq } = state;
      return (
        steps.rests(state, facts) ??
        steps.step({ name: 'asking', memory, lost: { flight, ownSeq } }, [], { type: 'find-own-end' })
      );
    }),
    applied: to(['lost', 'ready'], steps.applied),
  },
  stored: {
    ...RESTING,
    // The database was busy when its numbers were to be reserved.
    turn: to(['stored', 'reserving', 'awaited'], (state, { facts }) => {
      return steps.rests(state, facts) ?? steps.reserve(state);
    }),
    applied: to(['stored', 'ready'], steps.applied),
    'refused-own': to(['stored', 'ready'], steps.refusedOwn),
    passed: same(steps.passed),
    outcome: to(['ready'], steps.settled),
  },
  awaited: {
    ...RESTING,
    turn: same((state, { facts }) => steps.rests(state, facts) ?? steps.step(state)),
    applied: to(['awaited', 'ready'], steps.applied),
    'refused-own': to(['awaited', 'ready'], steps.refusedOwn),
    passed: same(steps.passed),
    outcome: to(['ready'], steps.settled),
  },
};

const GROUP_ROWS: Pick<
  GroupTable,
  'choosing' | 'preparing' | 'sealing' | 'local' | 'publishing' | 'committing' | 'reserving'
> = {
  choosing: {
    ...WORKING,
    chosen: to(['ready', 'preparing'], (state, { writes }) => steps.begin(state, writes, state.facts)),
    failed: failingAs((state) => steps.ready(state, state.ownSeq)),
  },
  preparing: {
    ...WORKING,
    prepared: to(['ready', 'local', 'publishing'], steps.prepared),
    captured: to(['sealing'], ({ memory, ownSeq, writes }) =>
      steps.step({ name: 'sealing', memory, ownSeq }, [{ type: 'put-back', writes }], { type: 'seal' }),
    ),
    failed: to(['ready'], (state, event) =>
      steps.fail(steps.ready(state, state.ownSeq), event, [{ type: 'put-back', writes: state.writes }]),
    ),
  },
  sealing: {
    ...WORKING,
    sealed: to(['ready'], (state) => steps.step(steps.ready(state, state.ownSeq), [{ type: 'more' }])),
    failed: failingAs((state) => steps.ready(state, state.ownSeq)),
  },
  local: {
    ...WORKING,
    committed: to(['ready'], (state) =>
      steps.step(steps.ready(state, state.ownSeq), [
        { type: 'local-done', flying: state.flying },
        { type: 'more' },
      ]),
    ),
    'commit-failed': to(['ready'], steps.localFailed),
    failed: to(['ready'], steps.localFailed),
  },
  publishing: {
    ...WORKING,
    stored: to(['committing', 'stored', 'reserving', 'awaited'], steps.stored),
    refused: to(['unsure', 'ready'], steps.refused),
    unanswered: to(['lost'], steps.unanswered),
    // Nobody knows how far it came.
    failed: to(['lost'], steps.unanswered),
  },
  committing: {
    ...WORKING,
    committed: to(['ready'], (state) =>
      steps.step(steps.ready(state, state.ownSeq), [
        { type: 'acknowledge', flying: state.flight.flying, seq: state.seq },
        { type: 'more' },
      ]),
    ),
    'commit-failed': to(['reserving', 'awaited'], steps.commitFailed),
    failed: to(['reserving', 'awaited'], steps.commitFailed),
  },
  reserving: {
    ...WORKING,
    reserved: to(['awaited'], (state) => steps.step({ ...state, name: 'awaited' })),
    failed: to(['stored'], (state, event) => steps.fail({ ...state, name: 'stored' as const }, event)),
  },
};

const RESOLVING_ROWS: Pick<
  GroupTable,
  | 'asking'
  | 'searching'
  | 'no-op-preparing'
  | 'no-op-publishing'
  | 'no-op-committing'
  | 'checking'
  | 'numbering'
> = {
  asking: { ...RESOLVING, 'own-end': to(['ready', 'searching', 'no-op-preparing'], steps.ownEnd) },
  searching: {
    ...RESOLVING,
    failed: to(['lost'], (state, event) =>
      steps.fail({ name: 'lost' as const, memory: state.memory, ...state.lost }, event),
    ),
    tail: to(['no-op-preparing', 'numbering', 'awaited', 'ready'], steps.searched),
  },
  'no-op-preparing': {
    ...RESOLVING,
    prepared: to(['unsure', 'lost', 'no-op-publishing'], steps.noOpPrepared),
    captured: to(['unsure', 'lost'], (state) => steps.step(steps.asBefore(state, state.lost))),
  },
  'no-op-publishing': {
    ...RESOLVING,
    stored: to(['no-op-committing', 'checking'], steps.noOpStored),
    // Nobody can tell whether it is there: the next turn asks again.
    refused: to(['unsure', 'lost'], (state) => steps.step(steps.asBefore(state, state.lost))),
    unanswered: to(['unsure', 'lost'], (state) => steps.step(steps.asBefore(state, state.lost))),
  },
  'no-op-committing': {
    ...RESOLVING,
    committed: to(['checking'], (state) => steps.check(state, state.seq)),
    'commit-failed': to(['unsure', 'lost'], (state, event) =>
      steps.fail(steps.asBefore(state, state.lost), event),
    ),
  },
  checking: { ...RESOLVING, tail: to(['unsure', 'lost', 'numbering', 'awaited', 'ready'], steps.checked) },
  numbering: { ...RESOLVING, reserved: to(['awaited', 'ready'], steps.conclude) },
};

/**
 * How a synchronous write gets into the log (docs/sync-machine.md, docs/decisions/0012). At most
 * one group is under way: its message expects the newest entry of our own subject, so a publish
 * that was thought lost and arrives late takes the place of the next one or none, and a counter
 * never stands for two transactions.
 *
 * Pure: what is to be done comes out as effects and at most one request, whose answer is the next
 * event; times and chance come in with the events.
 */
export const GROUP_TABLE: GroupTable = { ...RESTING_ROWS, ...GROUP_ROWS, ...RESOLVING_ROWS };

export function firstState(foreign: boolean): GroupState {
  const memory: Memory = { foreign, noOpUpTo: 0, refusedOwn: new Map(), trouble: NO_TROUBLE };
  return { name: 'unsure', memory };
}

/** Throws INTERNAL for an event that cannot come in this state. */
export function next(state: GroupState, event: GroupEvent, table: GroupTable = GROUP_TABLE): Step {
  // The cell is the one of this state and this event, which types cannot follow.
  const cell = table[state.name][event.type] as Cell<StateName, EventType>;
  if (cell === 'ignore') return steps.step(state);
  if (cell === 'defect') {
    const message = `A synchronous group is ${state.name} and got ${event.type}. Please report it.`;
    throw new AntiphonError('INTERNAL', message);
  }
  return cell.run(state, event);
}
