import { AntiphonError, type Verdict, sentence } from '@antiphon/core';
import type { SyncWrite } from '../state/sync-write.js';
import type { Flight, Flying } from './flight.js';
import { asRetriable, refusedByAll, unavailable } from './group-refusals.js';
import type {
  Effect,
  EventOf,
  Facts,
  GroupState,
  Lost,
  Memory,
  Request,
  StateName,
  StateOf,
  Step,
} from './group-states.js';
import { backedOff, isPausing, isProbeDue, probed, type Moment } from './log-trouble.js';
import type { OwnTail } from './own-subject.js';

/** No later turn goes better. */
const STALLING: ReadonlySet<string> = new Set(['SCHEMA_DRIFT', 'LOG_REPLACED', 'DUPLICATE_REPLICA']);

/** Of own entries that were refused. */
const KEPT_REFUSALS = 64;

type Resting = 'unsure' | 'ready' | 'lost' | 'stored' | 'awaited';
type Idle = 'unsure' | 'ready';

export function step<N extends StateName>(
  state: StateOf<N>,
  effects: readonly Effect[] = [],
  ask?: Request,
): Step<N> {
  return ask === undefined ? { state, effects } : { state, effects, ask };
}

// --- Questions about a state
// ---------------------------------------------------------------------------------

/** An attempt has got no answer, and nobody has found out yet. */
export function lostOf(state: GroupState): Lost | undefined {
  if (state.name === 'lost') return state;
  return 'lost' in state ? state.lost : undefined;
}

/** The group that is sent, or in the log, and not committed here. */
export function flightOf(state: GroupState): Flight | undefined {
  return 'flight' in state ? state.flight : lostOf(state)?.flight;
}

export function isIdle({ name }: GroupState): boolean {
  return name === 'unsure' || name === 'ready';
}

/**
 * Nobody knows which counter comes next, so what other programs wrote must not be given one: an
 * attempt without an answer may have it, also one of a process before this one, until something of
 * ours has come after it.
 */
export function isUncertain(state: GroupState, unpublished: number): boolean {
  if (!state.memory.foreign) return false;
  if (lostOf(state) !== undefined || state.name === 'stored' || state.name === 'reserving') return true;
  // What is numbered and not published yet was numbered when everything before it was certain.
  return !('ownSeq' in state) && unpublished === 0;
}

/** Something may be done at the next turn. */
export function isDue(
  state: GroupState,
  facts: Pick<Facts, 'waiting' | 'unpublished' | 'probes' | 'nowMs'>,
): boolean {
  const { noOpUpTo, trouble } = state.memory;
  return (
    facts.waiting > 0 ||
    lostOf(state) !== undefined ||
    noOpUpTo > 0 ||
    isUncertain(state, facts.unpublished) ||
    isProbeDue(trouble, facts)
  );
}

/**
 * Why nothing can be done now. Without an error: it goes on in a moment, and there is nothing to
 * tell anybody.
 */
interface Obstacle {
  readonly error?: AntiphonError;
}

function obstacleOf(state: StateOf<Resting>, facts: Facts): Obstacle | undefined {
  if (facts.stopped !== undefined) return { error: facts.stopped };
  if (!facts.connected) return { error: unavailable() };
  // What is under way is not held back: who hands over waits for its end.
  if (facts.held && state.name !== 'lost' && state.name !== 'stored') return {};
  // What other programs wrote meanwhile stops the recovery of own transactions until our counters
  // are certain: that comes first.
  if (facts.recovering) return isUncertain(state, facts.unpublished) ? undefined : {};
  if (state.name === 'lost' || state.name === 'stored') return undefined;
  // It comes back from the log, unless this database does not take it now: what waits behind it is
  // told so.
  if (state.name === 'awaited') return state.failure === undefined ? {} : { error: state.failure };
  if (facts.unpublished > 0 || facts.saturated) return {};
  if (facts.farBehind)
    return { error: new AntiphonError('TIMEOUT', 'This replica is still catching up with the log.') };
  return undefined;
}

/** `undefined`: a turn may go on in this state. */
export function rests<S extends StateOf<Resting>>(
  state: S,
  facts: Facts,
): { readonly state: S; readonly effects: readonly Effect[] } | undefined {
  if (!isDue(state, facts) || isPausing(state.memory.trouble, facts.nowMs)) return { state, effects: [] };
  const obstacle = obstacleOf(state, facts);
  if (obstacle === undefined) return undefined;
  const effects: Effect[] = [{ type: 'all-wait', why: obstacle.error }];
  if (facts.stopped !== undefined) effects.unshift({ type: 'all-give-up', error: facts.stopped });
  return { state, effects };
}

// --- Events that mean the same in every state
// ----------------------------------------------------------------

function remember<S extends GroupState>(state: S, changes: Partial<Memory>): S {
  return { ...state, memory: { ...state.memory, ...changes } };
}

export function useUp<S extends GroupState>(state: S, counter: number): S {
  return remember(state, { noOpUpTo: Math.max(state.memory.noOpUpTo, counter) });
}

export function sawOwn<S extends GroupState>(state: S, seq: number): S {
  if ('ownSeq' in state) return seq > state.ownSeq ? { ...state, ownSeq: seq } : state;
  if (!('lost' in state) || state.lost === undefined || seq <= state.lost.ownSeq) return state;
  return { ...state, lost: { ...state.lost, ownSeq: seq } };
}

export function rememberRefused<S extends GroupState>(state: S, seq: number, error: AntiphonError): S {
  const refusedOwn = new Map(state.memory.refusedOwn).set(seq, error);
  if (refusedOwn.size > KEPT_REFUSALS) refusedOwn.delete(Math.min(...refusedOwn.keys()));
  return remember(state, { refusedOwn });
}

/** What is being committed right now ends by itself. */
export function close(state: GroupState, error: AntiphonError): Step {
  return step(state, [
    { type: 'all-give-up', error },
    { type: 'give-up', writes: undecided(state), error },
  ]);
}

/**
 * The last thing that happens: the log had none of it when the next epoch began, so it is certain
 * that nobody ever applies it.
 */
export function deposed(state: GroupState, error: AntiphonError): Step {
  const effects: Effect[] = undecided(state).map((write) => ({ type: 'reject', write, error }));
  return step(state, [...effects, { type: 'all-give-up', error }]);
}

function undecided(state: GroupState): readonly SyncWrite[] {
  if (state.name === 'preparing') return state.writes;
  return state.name === 'committing' ? [] : writesOf(flightOf(state)?.flying);
}

function writesOf(flying: readonly Flying[] = []): readonly SyncWrite[] {
  return flying.map(({ write }) => write);
}

/** What was tried did not succeed: the next try waits, and those who wait for it are told why. */
export function fail<S extends GroupState>(
  state: S,
  { error, at }: { readonly error: AntiphonError; readonly at: Moment },
  before: readonly Effect[] = [],
): { readonly state: S; readonly effects: readonly Effect[] } {
  const told: Effect = error.retriable ? { type: 'all-wait', why: error } : { type: 'all-give-up', error };
  const effects: Effect[] = [...before, told];
  if (STALLING.has(error.code)) effects.push({ type: 'stall', error });
  return { state: remember(state, { trouble: backedOff(state.memory.trouble, at) }), effects };
}

// --- Back to rest
// --------------------------------------------------------------------------------------------

export function ready({ memory }: GroupState, ownSeq: number): StateOf<'ready'> {
  return { name: 'ready', memory, ownSeq };
}

export function unsure({ memory }: GroupState): StateOf<'unsure'> {
  return { name: 'unsure', memory };
}

/** As before somebody tried to find out. */
export function asBefore({ memory }: GroupState, lost: Lost | undefined): StateOf<'unsure' | 'lost'> {
  return lost === undefined ? { name: 'unsure', memory } : { name: 'lost', memory, ...lost };
}

/** Something of ours is in the log, or has a place there that nothing else can take. */
function taken<S extends GroupState>(state: S): S {
  const { trouble } = state.memory;
  return trouble.failures === 0 ? state : remember(state, { trouble: { ...trouble, failures: 0 } });
}

/** It is certain that the log will never have it, or that it counts for nobody there. */
function dead(state: GroupState, { flight }: Lost, ownSeq: number): Step<'ready'> {
  const writes = writesOf(flight.flying);
  return step(ready(taken(state), ownSeq), [
    { type: 'log-takes' },
    { type: 'commit-alarm-ends' },
    { type: 'wait', writes, why: unavailable() },
    { type: 'put-back', writes },
  ]);
}

// --- A group
// -------------------------------------------------------------------------------------------------

/**
 * What was sent is settled all the same where this replica is out of sync, or nobody would get any
 * further.
 */
export function choose(state: StateOf<'ready'>, facts: Facts): Step<'ready' | 'choosing' | 'preparing'> {
  // Something of ours is in the log that this database has not.
  if (facts.positionSeq < state.ownSeq) return step(state);
  if (facts.uncreated !== undefined) return step(state, [{ type: 'all-wait', why: facts.uncreated }]);
  if (facts.outOfSync === undefined)
    return step({ ...state, name: 'choosing', facts }, [], { type: 'choose' });
  const begun = begin(state, [], facts);
  return { ...begun, effects: [{ type: 'all-wait', why: facts.outOfSync }, ...begun.effects] };
}

/**
 * `writes` may be none: then a no-op group is made if one is wanted, or if the log is to be tried.
 */
export function begin(
  state: StateOf<'ready' | 'choosing'>,
  writes: readonly SyncWrite[],
  facts: Facts,
): Step<'ready' | 'preparing'> {
  const { ownSeq } = state;
  let { memory } = state;
  if (writes.length === 0 && memory.noOpUpTo <= facts.ownCounter) {
    memory = { ...memory, noOpUpTo: 0 };
    if (!isProbeDue(memory.trouble, facts)) return step({ name: 'ready', memory, ownSeq });
    memory = { ...memory, trouble: probed(memory.trouble, facts.nowMs) };
  }
  return step({ name: 'preparing', memory, ownSeq, writes }, [], { type: 'prepare', writes });
}

export function prepared(
  state: StateOf<'preparing'>,
  { prepared: group }: EventOf<'prepared'>,
): Step<'ready' | 'local' | 'publishing'> {
  const { memory, ownSeq, writes } = state;
  // Its caller is better told that nothing was written than left in doubt. Where its time is up
  // later than this, it goes and is in doubt: what has run is settled by what becomes of its group.
  if (group.expired)
    return step(ready(state, ownSeq), [{ type: 'rollback' }, { type: 'put-back', writes }, { type: 'more' }]);
  const { flying, failed, leftOut, message, origin, token, readSeq } = group;
  const effects: Effect[] = failed.map((one) => ({ type: 'reject', ...one }));
  if (leftOut.length > 0) effects.push({ type: 'put-back', writes: leftOut });
  if (message === undefined)
    return step({ name: 'local', memory, ownSeq, flying }, effects, { type: 'commit-local', flying });
  const { firstCounter, lastCounter } = message;
  const flight: Flight = { origin, token, firstCounter, lastCounter, flying, after: ownSeq };
  effects.push({ type: 'published', flight });
  return step({ name: 'publishing', memory, ownSeq, flight, readSeq }, effects, { type: 'publish', flight });
}

/** Nothing that is replicated changed: what could not be committed runs again. */
export function localFailed(
  state: StateOf<'local'>,
  event: { readonly error: AntiphonError; readonly at: Moment },
): Step<'ready'> {
  const writes = writesOf(state.flying);
  return fail(ready(state, state.ownSeq), event, [
    { type: 'wait', writes },
    { type: 'put-back', writes },
  ]);
}

/**
 * The log has it: it is decided, here as everywhere. Right after what we had read, nothing can
 * stand against it. Anything else in between may be another attempt of ours, or change the verdict:
 * then it is applied in its turn.
 */
export function stored(
  state: StateOf<'publishing'>,
  { seq, accepted }: EventOf<'stored'>,
): Step<'committing' | 'stored' | 'reserving' | 'awaited'> {
  const { flight, readSeq } = state;
  const { memory } = taken(state);
  const logged = { memory, flight, ownSeq: seq, seq };
  const effects: Effect[] = [{ type: 'log-takes' }];
  if (seq <= readSeq)
    return step({ name: 'stored', ...logged }, [...effects, { type: 'place-given-twice', seq }]);
  if (seq === readSeq + 1 && accepted)
    return step({ name: 'committing', ...logged }, effects, { type: 'commit', flight, seq });
  return reserve({ name: 'stored', ...logged }, [...effects, { type: 'rollback' }]);
}

/** A full or failing disk: the log brings it back, until it goes in. */
export function commitFailed(
  state: StateOf<'committing'>,
  { error }: { readonly error: AntiphonError },
): Step<'reserving' | 'awaited'> {
  const { flight } = state;
  const message = `A write that the log holds is not in the database yet: ${sentence(error.message)}`;
  const failure = new AntiphonError(error.code, message, { cause: error });
  const effects: Effect[] = [
    { type: 'commit-alarm', message },
    { type: 'held', flight, why: failure },
  ];
  if (error.code === 'DUPLICATE_REPLICA') effects.push({ type: 'stall', error });
  return reserve({ ...state, name: 'stored', failure }, [...effects, { type: 'rollback' }]);
}

/**
 * Nothing else of ours can take its counters: when it was published, everything before it was
 * settled. So what other programs write is numbered after it at once.
 */
export function reserve(
  state: StateOf<'stored'>,
  effects: readonly Effect[] = [],
): Step<'reserving' | 'awaited'> {
  if (!state.memory.foreign) return step({ ...state, name: 'awaited' }, effects);
  const { lastCounter } = state.flight;
  return step({ ...state, name: 'reserving' }, effects, { type: 'reserve', counter: lastCounter });
}

/**
 * No answer: it may be stored, now or later. Resolved before anything else is published or gets a
 * counter.
 */
export function unanswered(
  state: StateOf<'publishing'>,
  { error, at }: { readonly error: AntiphonError; readonly at: Moment },
): Step<'lost'> {
  const { memory, flight, ownSeq } = state;
  const { trouble } = memory;
  return step({ name: 'lost', memory: { ...memory, trouble: backedOff(trouble, at) }, flight, ownSeq }, [
    { type: 'rollback' },
    { type: 'count', what: 'unknown', by: 1 },
    { type: 'log-refuses', failures: trouble.failures, error },
  ]);
}

export function refused(
  state: StateOf<'publishing'>,
  { error, lastSeqOfOrigin, at }: EventOf<'refused'>,
): Step<Idle> {
  const { flight, memory } = state;
  const writes = writesOf(flight.flying);
  const effects: Effect[] = [
    { type: 'rollback' },
    // Certainly not stored: whatever comes, they are not in doubt.
    { type: 'wait', writes },
    { type: 'put-back', writes },
  ];
  if (lastSeqOfOrigin !== undefined && lastSeqOfOrigin > flight.after) {
    // Something of ours came in late: it is applied first. Where other programs write too, all of
    // it is asked for again.
    const next = memory.foreign ? unsure(state) : ready(state, lastSeqOfOrigin);
    return step(next, [...effects, { type: 'more' }]);
  }
  effects.push({ type: 'log-refuses', failures: memory.trouble.failures, error });
  // The log takes less than it did when the group was made: the next one is made for that.
  const reason = error.code === 'MESSAGE_TOO_LARGE' ? asRetriable(error) : error;
  return fail(unsure(state), { error: reason, at }, effects);
}

// --- What the log has of us
// ----------------------------------------------------------------------------------

/** Where our own subject ends is known. */
export function ownEnd(
  { memory, lost }: StateOf<'asking'>,
  { seq: endSeq }: EventOf<'own-end'>,
): Step<'ready' | 'searching' | 'no-op-preparing'> {
  if (lost !== undefined)
    return step({ name: 'searching', memory, lost, endSeq }, [], { type: 'read-tail', upToSeq: endSeq });
  // Whatever was sent and not answered, by this process or the one before: after a no-op group it
  // can't come any more.
  if (memory.foreign) return noOp(memory, undefined, endSeq);
  return step({ name: 'ready', memory, ownSeq: endSeq }, [], { type: 'look' });
}

/** An empty group, which takes the place and the numbers of what may still come. */
function noOp(memory: Memory, lost: Lost | undefined, after: number): Step<'no-op-preparing'> {
  const resolving = lost === undefined ? {} : { lost };
  return step({ name: 'no-op-preparing', memory, ...resolving, after }, [], { type: 'prepare', writes: [] });
}

/**
 * Is the attempt without an answer in the log? That an entry of ours came after it was sent proves
 * nothing: it may be an older attempt that was late as well, and counts for nobody. The attempt is
 * dead once another group has its counters, in the order of the log; if there is none yet, a no-op
 * group takes them.
 */
export function searched(
  { memory, lost, endSeq }: StateOf<'searching'>,
  { tail }: EventOf<'tail'>,
): Step<'no-op-preparing' | 'numbering' | 'awaited' | 'ready'> {
  if (tail.counter < lost.flight.firstCounter) return noOp(memory, lost, endSeq);
  return number({ memory, lost, endSeq, tail });
}

export function noOpPrepared(
  { memory, lost, after }: StateOf<'no-op-preparing'>,
  { prepared: group }: EventOf<'prepared'>,
): Step<'no-op-publishing' | 'unsure' | 'lost'> {
  const { origin, token, message, readSeq } = group;
  if (message === undefined) return step(asBefore({ name: 'unsure', memory }, lost), [{ type: 'rollback' }]);
  const { firstCounter, lastCounter } = message;
  const flight: Flight = { origin, token, firstCounter, lastCounter, flying: [], after };
  const resolving = lost === undefined ? {} : { lost };
  return step({ name: 'no-op-publishing', memory, ...resolving, noOp: flight, readSeq }, [], {
    type: 'publish',
    flight,
  });
}

export function noOpStored(
  state: StateOf<'no-op-publishing'>,
  { seq, accepted }: EventOf<'stored'>,
): Step<'no-op-committing' | 'checking'> {
  const { memory, lost, noOp: flight, readSeq } = state;
  const resolving = lost === undefined ? {} : { lost };
  if (seq === readSeq + 1 && accepted)
    return step({ name: 'no-op-committing', memory, ...resolving, noOp: flight, seq }, [], {
      type: 'commit',
      flight,
      seq,
    });
  return check(state, seq, [{ type: 'rollback' }]);
}

/** The no-op group may be late itself: only what the log has in order says who has the numbers. */
export function check(
  { memory, lost, noOp: flight }: StateOf<'no-op-publishing' | 'no-op-committing'>,
  endSeq: number,
  effects: readonly Effect[] = [],
): Step<'checking'> {
  const resolving = lost === undefined ? {} : { lost };
  return step({ name: 'checking', memory, ...resolving, noOp: flight, endSeq }, effects, {
    type: 'read-tail',
    upToSeq: endSeq,
  });
}

export function checked(
  { memory, lost, noOp: flight, endSeq }: StateOf<'checking'>,
  { tail, at }: EventOf<'tail'>,
): Step<'unsure' | 'lost' | 'numbering' | 'awaited' | 'ready'> {
  const isFree = tail.counter < (lost?.flight ?? flight).firstCounter;
  if (!isFree) return number({ memory, ...(lost && { lost }), endSeq, tail });
  // No replica accepts the no-op group, for its time: the numbers may still be taken by what is
  // under way.
  const trouble = backedOff(memory.trouble, at);
  return step(asBefore({ name: 'unsure', memory: { ...memory, trouble } }, lost));
}

interface Resolved {
  readonly memory: Memory;
  readonly lost?: Lost;
  readonly endSeq: number;
  readonly tail: OwnTail;
}

/**
 * Where other programs write too, what they wrote is numbered after what the log has of us and this
 * database has not. Not after attempts that count for nobody: their numbers would never come, and
 * everybody would wait for them.
 */
function number(resolved: Resolved): Step<'numbering' | 'awaited' | 'ready'> {
  if (!resolved.memory.foreign) return conclude(resolved);
  const { counter, time } = resolved.tail;
  return step({ name: 'numbering', ...resolved }, [], { type: 'reserve', counter, time });
}

export function conclude({ memory, lost, endSeq, tail }: Resolved): Step<'awaited' | 'ready'> {
  const known = ready({ name: 'unsure', memory }, endSeq);
  if (lost === undefined) return step(known, [], { type: 'look' });
  const { flight } = lost;
  const seq = tail.groups.get(flight.token);
  if (seq !== undefined) return step({ name: 'awaited', memory, flight, ownSeq: endSeq, seq });
  return { ...dead(known, lost, endSeq), ask: { type: 'look' } };
}

// --- What came out of the log
// --------------------------------------------------------------------------------

export function applied(state: StateOf<'lost' | 'stored' | 'awaited'>, event: EventOf<'applied'>): Step {
  const { flight, ownSeq } = state;
  const { token, seq, verdict } = event;
  if (flight.token !== token) return step(state);
  return step(ready(taken(state), Math.max(seq, ownSeq)), [
    { type: 'log-takes' },
    { type: 'commit-alarm-ends' },
    ...judged(flight, seq, verdict),
  ]);
}

/** Everything from the first rejected one on is rejected: it may have read what is not there. */
function judged(flight: Flight, seq: number, verdict: Verdict | undefined): readonly Effect[] {
  const rejections = new Map(verdict?.rejected.map((rejection) => [rejection.counter, rejection]));
  if (rejections.size === 0) return [{ type: 'acknowledge', flying: flight.flying, seq }];
  const first = Math.min(...rejections.keys());
  const isKept = ({ ran }: Flying): boolean => (ran.id?.counter ?? first) < first;
  return [
    { type: 'count', what: 'certificationRejected', by: rejections.size },
    { type: 'acknowledge', flying: flight.flying.filter(isKept), seq },
    ...flight.flying
      .filter((flying) => !isKept(flying))
      .map((flying): Effect => {
        const rejection = rejections.get(flying.ran.id?.counter ?? first);
        return { type: 'run-again', flying, rejection };
      }),
  ];
}

/** What it was to write is nowhere. */
export function refusedOwn(
  state: StateOf<'stored' | 'awaited'>,
  { seq, error }: Pick<EventOf<'refused-own'>, 'seq' | 'error'>,
): Step {
  if (state.seq !== seq) return step(rememberRefused(state, seq, error));
  const reason = refusedByAll(error);
  return step(ready(state, state.ownSeq), [
    { type: 'commit-alarm-ends' },
    ...writesOf(state.flight.flying).map((write): Effect => ({ type: 'reject', write, error: reason })),
  ]);
}

/** A group that should have come up before is to be settled. */
export function passed(state: StateOf<'stored' | 'awaited'>, { seq }: EventOf<'passed'>): Step {
  const { flight } = state;
  return state.seq > seq ? step(state) : step(state, [], { type: 'find-outcome', flight });
}

export function settled(state: StateOf<'stored' | 'awaited'>, { token }: EventOf<'outcome'>): Step {
  const { flight, seq, ownSeq } = state;
  // Its counter went to another attempt that came before it in the log: every replica has passed it
  // over.
  if (token !== undefined && token !== flight.token) return dead(state, state, ownSeq);
  const refusal = state.memory.refusedOwn.get(seq);
  if (refusal !== undefined) return refusedOwn(state, { seq, error: refusal });
  return step(ready(state, ownSeq), [{ type: 'commit-alarm-ends' }, { type: 'not-applied', flight, seq }]);
}
