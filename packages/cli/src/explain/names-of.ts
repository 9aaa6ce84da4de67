import type { MemberAnswer } from '@antiphon/client';
import { writingMsOf } from '@antiphon/client/internal';
import { alarmSection } from '@antiphon/core';
import type { ReplicaStatus } from '@antiphon/replica';

/** For as long, a replica may be behind before somebody should look. */
const MAX_LAG_SECONDS = 10;
/** In step, or what passes in moments and has an alarm where it does not. */
const WELL: ReadonlySet<string> = new Set(['following', 'primary', 'catching-up', 'closing', 'closed']);

/** What `antiphon explain` can be asked about how these replicas are, each once. */
export function namesOf(answers: readonly MemberAnswer[]): readonly string[] {
  const names = answers.flatMap((answer) => {
    const { id, status, error } = answer;
    if (status !== undefined) return namesOfStatus(status);
    if (writingMsOf(answers, id) !== undefined) return ['in-a-long-write'];
    return [error?.code === 'ACCESS_DENIED' ? 'not-permitted' : 'away'];
  });
  return [...new Set(names)];
}

function namesOfStatus(status: ReplicaStatus): readonly string[] {
  const { lifecycle, stalled, holding, connection, waitingFor, quarantined, alarms, sync, lag } = status;
  // A build from before does not say all of it.
  const { reads, leftOut = [] }: Partial<ReplicaStatus> = status;
  return [
    ...(WELL.has(lifecycle) ? [] : [lifecycle === 'bootstrapping' ? 'joining' : lifecycle]),
    ...(lifecycle === 'catching-up' && lag.seconds > MAX_LAG_SECONDS ? ['catching-up'] : []),
    ...[stalled, holding].flatMap((reason) => reason?.code ?? []),
    ...(connection === 'connected' ? [] : ['no-nats']),
    ...(reads?.drainedSinceMs === undefined ? [] : ['drained']),
    ...(waitingFor.length > 0 ? ['waiting'] : []),
    ...(quarantined > 0 ? ['quarantined'] : []),
    ...(sync?.degraded === true ? ['degraded'] : []),
    ...(leftOut.some(({ isData = false }) => isData) ? ['left-out'] : []),
    // Said by `holding`.
    ...alarms.flatMap(({ name }) => (name === 'apply' ? [] : alarmSection(name).replace(/^alarm-/, ''))),
  ];
}
