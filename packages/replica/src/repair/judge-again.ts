import {
  type AdmissionState,
  admit,
  admitted,
  AntiphonError,
  type ApplyStep,
  type Batch,
  counterOf,
  decodeBatches,
  type IntakeRules,
  type LogEntry,
  missingCause,
  newOfPart,
  refuseBatch,
  refuseOrigin,
  summarize,
  toAntiphonError,
  type VectorClock,
  withoutStop,
  type Epoch,
  epochAt,
  isFenced,
} from '@antiphon/core';
import { intakeRules } from '../deliver/rules.js';
import { isKnownMember } from '../cluster/members.js';
import type { RejudgeResult, RejudgeRequest } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';

/** What is to be applied of entries that were passed before, and what is in the way of the rest. */
export function judgeEntries(
  scope: Scope,
  { entries, release }: RejudgeRequest,
): { readonly steps: readonly ApplyStep[]; readonly verdicts: RejudgeResult['verdicts'] } {
  const state = scope.store.state();
  const rules = intakeRules(scope);
  let now: AdmissionState = state;
  const steps: ApplyStep[] = [];
  const verdicts = entries.map((entry): RejudgeResult['verdicts'][number] => {
    const { seq, origin } = entry;
    const known = isKnownMember(scope, origin, { vector: now.vector });
    const epoch = epochAt(state.epochs, seq);
    const verdict = judgeAgain(entry, now, rules, { self: scope.id, known, epoch });
    steps.push(...verdict.steps);
    now = verdict.state;
    const { obstacle } = verdict;
    if (obstacle === undefined) return { seq, origin, isNext: false };
    return { seq, origin, obstacle, isNext: known && isNext(entry, now.vector) };
  });
  if (release === undefined) return { steps, verdicts };
  const { seq } = state.position;
  const released = verdicts.every(({ obstacle }) => obstacle === undefined)
    ? [{ type: 'release', id: release, arrived: true, seq } as const]
    : [];
  return { steps: [...steps.map((step) => ({ ...step, seq })), ...released], verdicts };
}

/** It holds the transaction that is missing, and not only later ones. */
function isNext({ data, origin }: LogEntry, vector: VectorClock): boolean {
  const next = counterOf(vector, origin) + 1;
  try {
    return summarize(data).some(
      ({ firstCounter, lastCounter }) => firstCounter <= next && lastCounter >= next,
    );
  } catch (error) {
    if (error instanceof AntiphonError) return false;
    throw error;
  }
}

/** What a quarantined message would do now. */
export interface SecondVerdict {
  /** To be applied now, in this order; what is in the database already left out. */
  readonly steps: readonly ApplyStep[];
  /**
   * Why not all of it can be applied, as a sentence without its stop; absent when nothing is in the
   * way.
   */
  readonly obstacle?: string;
  /** What is admitted once the steps are applied. */
  readonly state: AdmissionState;
}

/**
 * By the same rules as when it came out of the log, and by what is known now: its origin may be a
 * member meanwhile, or what it builds on may be here. It never advances a counter over something
 * that is missing (I2).
 */
export function judgeAgain(
  entry: LogEntry,
  state: AdmissionState,
  rules: IntakeRules,
  { self, known, epoch }: { readonly self: string; readonly known: boolean; readonly epoch: Epoch },
): SecondVerdict {
  const steps: ApplyStep[] = [];
  if (entry.origin === self)
    return { steps, state, obstacle: 'it is of this replica, which publishes again what must be' };
  const refusal = refuseOrigin(entry, known);
  if (refusal !== undefined) return { steps, state, obstacle: clause(refusal.message) };
  let batches: readonly Batch[];
  try {
    batches = decodeBatches(entry.data);
  } catch (thrown) {
    return { steps, state, obstacle: clause(toAntiphonError(thrown, 'MALFORMED_MESSAGE').message) };
  }
  let now = state;
  for (const batch of batches) {
    // By who was the primary where it stands: that is what the other replicas went by.
    if (isFenced(epoch, batch)) continue;
    const admission = admit(now, batch);
    if (admission.type === 'duplicate') continue;
    const obstacle =
      admission.type === 'hole'
        ? `${batch.origin}:${admission.expected} comes before it, and is not here yet`
        : obstacleOf(entry, batch, now, rules);
    if (obstacle !== undefined) return { steps, state: now, obstacle };
    const { seq } = entry;
    const { skip } = admission as { readonly skip: number };
    if (batch.kind === 'part') steps.push({ type: 'part', batch: newOfPart(batch, skip), seq });
    else steps.push({ type: 'transactions', batch, skip, seq });
    now = admitted(now, batch);
  }
  return { steps, state: now };
}

function obstacleOf(
  entry: LogEntry,
  batch: Batch,
  { vector }: AdmissionState,
  rules: IntakeRules,
): string | undefined {
  const refusal = refuseBatch(entry, batch, rules);
  if (refusal !== undefined) return clause(refusal.message);
  // Where one replica writes, nothing is judged by its place: the order of its counters holds.
  if (batch.kind === 'transactions' && batch.sync !== undefined && rules.primary === undefined) {
    return (
      'it is a synchronous transaction, which was judged by its place in the log, and later ones with it: ' +
      'start this replica with an empty file, which judges alike'
    );
  }
  if (batch.schemaVersion > rules.schema.version)
    return `it has schema version ${batch.schemaVersion}, and this replica ${rules.schema.version}: upgrade it`;
  const missing = missingCause(batch, vector);
  if (missing === undefined) return undefined;
  return `it builds on ${missing.origin}:${missing.counter}, which is not here yet`;
}

/** Without where it was found, and without its stop. */
function clause(message: string): string {
  return withoutStop(message.replace(/^Entry \d+ of the log was quarantined: /, ''));
}
