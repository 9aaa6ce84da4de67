import type { Scope } from '../state/scope.js';

export const RESCUE_ALARM = 'rescue';

/** Kept transactions wait for somebody to decide, for as long as that takes. */
export function alarmRescued({ store, authority, health, id }: Scope): void {
  const { rescued } = store.state();
  const { primary, mayWrite } = authority.current();
  // A primary whose epoch has not begun writes them again by itself.
  const isPending = authority.byTerm && primary === id && !mayWrite;
  if (rescued === 0 || isPending) return health.clearAlarm(RESCUE_ALARM);
  const [transactions, they] = rescued === 1 ? ['1 transaction', 'it'] : [`${rescued} transactions`, 'they'];
  health.alarm(
    RESCUE_ALARM,
    `${transactions} of ${id} had not come into the log when another replica became the primary. What ${they} changed is ` +
      `kept in its rescue ledger and nowhere else. See \`antiphon rescue list --replica ${id}\`.`,
  );
}
