/**
 * Every kind of alarm that a replica raises. docs/operations.md has a section for each. A name is
 * stable: programs and alert rules may match on it.
 */
export const ALARMS = [
  // Writing, and the disk
  'publish',
  'own',
  'awaited',
  'seal',
  'store',
  'lock',
  'commit',
  'kept',
  'conflicts',
  'not replicated',
  // The log, and NATS
  'log',
  'removed',
  'trimmed',
  'denied',
  'registry',
  'membership',
  'records',
  'duplicate',
  'publishing',
  // Clocks
  'clock',
  'hybrid-clock',
  'clock-reading',
  // Failover
  'primary',
  'election',
  'lease',
  'lease-thread',
  'long-write',
  'rescue',
  'capture',
  'history',
  // Synchronous clusters, and what the database refuses
  'in-sync',
  'in-sync-set',
  'apply',
] as const;

export type AlarmKind = (typeof ALARMS)[number];

/** Those of one replica or one permission have it behind their kind: `clock eu-2`. */
export type AlarmName = AlarmKind | `clock ${string}` | `denied ${string}`;

const WITH_SUBJECT = /^(clock|denied) /;

/** The anchor of the section of docs/operations.md that says what to do about an alarm. */
export function alarmSection(name: string): string {
  const kind = WITH_SUBJECT.exec(name)?.[1] ?? name;
  return `alarm-${kind.replaceAll(' ', '-')}`;
}
