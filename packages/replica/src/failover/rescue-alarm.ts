import type { RewindReport } from '@antiphon/core';
import { shown } from '../state/conflicts.js';
import type { Scope } from '../state/scope.js';

export const RESCUE_ALARM = 'rescue';

/** Kept transactions wait for somebody to decide, for as long as that takes. */
export function alarmRescued({ store, authority, health, id }: Scope): void {
  const { rescued } = store.state();
  const { primary, mayWrite } = authority.current();
  // A primary whose epoch has not begun writes them again by itself.
  const isPending = authority.byTerm && primary === id && !mayWrite;
  // What it waits to write again, it decides itself.
  if (rescued === 0) health.clearAlarm(CAPTURE_ALARM);
  if (rescued === 0 || isPending) return health.clearAlarm(RESCUE_ALARM);
  const [transactions, they] = rescued === 1 ? ['1 transaction', 'it'] : [`${rescued} transactions`, 'they'];
  health.alarm(
    RESCUE_ALARM,
    `${transactions} of ${id} had not come into the log when another replica became the primary. What ${they} changed is ` +
      `kept in its rescue ledger and nowhere else. See \`antiphon rescue list --replica ${id}\`.`,
  );
}

/** Of a rewind: rows were written past the capture. */
export const CAPTURE_ALARM = 'capture';
const NAMED_ROWS = 3;

/**
 * Rows that were not as this replica had captured them. What the log has of them is there now, and
 * nobody has what was written past it: who did that will do it again. Ends when somebody has
 * decided about what was rescued, and with the process.
 */
export function alarmSuspicious(
  { health, logger, id }: Pick<Scope, 'health' | 'logger' | 'id'>,
  { suspicious }: Pick<RewindReport, 'suspicious'>,
): void {
  if (suspicious.length === 0) return;
  const named = suspicious
    .slice(0, NAMED_ROWS)
    .map(({ table, key }) => `${table} ${key.map(shown).join(', ')}`)
    .join('; ');
  const others = suspicious.length > NAMED_ROWS ? '; and others' : '';
  const message =
    `Something has written to the database of ${id} without its triggers: when transactions were undone, these rows were ` +
    `not what they had made of them: ${named}${others}. They are as before these transactions now, and nothing keeps what ` +
    'was written past the triggers. Find out what writes like that, compare all rows with `antiphon verify`, and see ' +
    '`antiphon rescue list`.';
  logger.error({ rows: suspicious.length }, message);
  health.alarm(CAPTURE_ALARM, message);
}

/** Somebody has decided about the last of them. */
export function endSuspicion({ store, health }: Scope): void {
  if (store.state().rescued === 0) health.clearAlarm(CAPTURE_ALARM);
}
