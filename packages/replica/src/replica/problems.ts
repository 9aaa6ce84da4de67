import { AntiphonError, checkOptions, isRecord, type OptionNames, sentence } from '@antiphon/core';
import { ELECTION_ALARM } from '../failover/elector.js';
import { LEASE_ALARM } from '../failover/lease-keeper.js';
import { PRIMARY_ALARM } from '../failover/primary-watch.js';
import { CAPTURE_ALARM, RESCUE_ALARM } from '../failover/rescue-alarm.js';
import { PUBLISHING_ALARM } from '../read/publisher.js';
import type { ReplicaStatus } from './status.js';

/** What counts as healthy. */
export interface HealthOptions {
  /**
   * How long an entry of the log may stay unapplied, in seconds; longer is a problem.
   * @defaultValue lag is not judged
   */
  readonly maxLagSeconds?: number;
}

const HEALTH_OPTIONS: OptionNames<HealthOptions> = { maxLagSeconds: true };

/** A missing transaction is sent again within seconds while its origin runs. */
const PATIENCE_MS = 60_000;

/**
 * What keeps a replica from doing its work, a sentence each; an empty list means that it is
 * healthy. A process can be alive and answer, and replicate nothing: health checks have to go by
 * this.
 *
 * @throws AntiphonError BAD_OPTION
 * @example
 * const problems = problemsOf(replica.status(), { maxLagSeconds: 30 });
 * response.writeHead(problems.length === 0 ? 200 : 503).end(problems.join('\n'));
 */
export function problemsOf(status: ReplicaStatus, options: HealthOptions = {}): readonly string[] {
  assertStatus(status);
  checkOptions(options, HEALTH_OPTIONS, 'problemsOf()');
  const { maxLagSeconds = Infinity } = options;
  const { id, stalled, holding, lifecycle, connection, waitingFor, nowMs, lag, alarms } = status;
  const problems: string[] = [];
  if (stalled !== undefined) problems.push(`${id} has stalled: ${stalled.message} [${stalled.code}]`);
  else if (holding !== undefined) problems.push(`${id} holds: ${holding.message} [${holding.code}]`);
  else if (ENDING.has(lifecycle)) problems.push(`${id} is ${lifecycle}.`);
  else if (lifecycle === 'suspended') problems.push(whySuspended(status));
  if (connection !== 'connected') problems.push(`${id} has no connection to NATS (${connection}).`);
  for (const { origin, expected, sinceMs, reason } of waitingFor) {
    if (nowMs - sinceMs > PATIENCE_MS)
      problems.push(
        `${id} has waited for ${origin}:${expected} for ${Math.round((nowMs - sinceMs) / 1000)} s: ${sentence(reason)}`,
      );
  }
  for (const { name, message, sinceMs } of alarms) {
    const patienceMs = WRITE_ALARMS.get(name);
    if (patienceMs !== undefined && nowMs - sinceMs >= patienceMs) problems.push(`${id}: ${message}`);
  }
  if (lag.seconds > maxLagSeconds)
    problems.push(`${id} is ${lag.entries} entries behind, for ${Math.round(lag.seconds)} s.`);
  return problems;
}

function whySuspended({ id, alarms }: ReplicaStatus): string {
  const alarm = alarms.find(({ name }) => name === LEASE_ALARM);
  return `${id}: ${alarm?.message ?? 'This primary has no lease now, and another replica may take its place.'}`;
}

function assertStatus(status: unknown): void {
  if (isRecord(status) && Array.isArray(status['waitingFor']) && Array.isArray(status['alarms'])) return;
  const message = 'problemsOf() needs the status of a replica. Give it what `replica.status()` returned.';
  throw new AntiphonError('BAD_OPTION', message);
}

const ENDING: ReadonlySet<string> = new Set(['failed', 'closing', 'closed']);
/**
 * What this replica writes, or wrote, reaches nobody: the alarms that say so, and after how long
 * each counts. No replica accepts it, the log does not take it (a change of its leader takes
 * seconds), it is in the rescue ledger, or there is no primary (an election takes a second or two).
 */
const WRITE_ALARMS: ReadonlyMap<string, number> = new Map([
  ['own', 0],
  ['publish', 5000],
  [RESCUE_ALARM, 0],
  [CAPTURE_ALARM, 0],
  [PRIMARY_ALARM, 0],
  [ELECTION_ALARM, 10_000],
  [PUBLISHING_ALARM, 5000],
]);
/** They concern writes only, and somebody has to decide: whoever reads here need not wait. */
export const READS_GO_ON: ReadonlySet<string> = new Set([
  RESCUE_ALARM,
  CAPTURE_ALARM,
  PRIMARY_ALARM,
  ELECTION_ALARM,
]);
