import {
  type ClusterDocument,
  counted,
  describeTopology,
  describeUpdate,
  ERROR_CODES,
  type ErrorCode,
  type LeftOut,
  limitsDifference,
  sentence,
  usersTables,
} from '@antiphon/core';
import type { ReplicaStatus } from '@antiphon/replica';
import { writingPrimary } from '@antiphon/replica/internal';
import type { MemberAnswer } from '@antiphon/client';
import { primaryOf, writingMsOf } from '@antiphon/client/internal';
import type { Config } from '../config/config.js';
import { ok, splitSentence, warn, fail, type Check } from './check.js';

const MAX_CLOCK_DIFFERENCE_MS = 1000;
const MAX_LEFT_OUT = 20;
const MAX_LAG_SECONDS = 10;
const STAYS =
  'Its rows are on no other replica. Give it what it lacks before the cluster is created, or name the tables to replicate in `tables`.';
/** Said by `holding`. */
const HOLD_ALARM = 'apply';
/** Said of the primary itself. */
const WRITING_ALARM = 'long-write';

/**
 * Each member: does it answer, is it in step, do versions and clocks agree? `nowMs`: when the
 * answers came that do not say it.
 */
export function replicaChecks(answers: readonly MemberAnswer[], nowMs: number): readonly Check[] {
  const statuses = answers.flatMap(({ status }) => status ?? []);
  const checks = answers.flatMap((answer) => {
    const { status, answeredAtMs = nowMs } = answer;
    return status === undefined ? [silentCheck(answer, answers)] : statusChecks(status, answeredAtMs);
  });
  return [...checks, ...versionChecks(statuses)];
}

function silentCheck({ id, error }: MemberAnswer, answers: readonly MemberAnswer[]): Check {
  const statuses = answers.flatMap(({ status }) => status ?? []);
  const writingMs = writingMsOf(answers, id);
  if (writingMs !== undefined)
    return warn(
      id,
      writingPrimary(id, writingMs),
      'Wait for its end. `antiphon run` names the statement in its log.',
    );
  const what = `${id} does not answer (${error?.code ?? 'no answer'}).`;
  if (error?.code === 'ACCESS_DENIED')
    return fail(id, what, 'Grant this user the permissions of docs/access.md, or log in as another one.');
  const mayChange = statuses.some(({ epoch }) => epoch !== undefined);
  const isPrimary = mayChange && primaryOf(statuses) === id;
  // Somebody listens in its name.
  if (error?.code === 'TIMEOUT') {
    const advice =
      'See its log: a long write or something else keeps its main thread, the process is stopped, or its machine ' +
      'has just gone.';
    const byHand = isPrimary ? ' If it does not come back, run `antiphon failover ID`.' : '';
    return fail(id, `${id} is there, and does not answer (TIMEOUT).`, `${advice}${byHand}`);
  }
  const looks = 'Start it, or see its log for why it ended. If it is gone for good, run';
  const remove = `\`antiphon member remove ${id}\``;
  // A primary is removed only after another one has taken its place.
  return isPrimary
    ? fail(id, `${what} It is the primary.`, `${looks} \`antiphon failover ID\`, and then ${remove}.`)
    : fail(id, what, `${looks} ${remove}.`);
}

function statusChecks(status: ReplicaStatus, nowMs: number): readonly Check[] {
  const { id, lifecycle, role, lag, stalled, holding, alarms, waitingFor, quarantined, conflicts } = status;
  const { leftOut = [] } = status;
  const checks: Check[] = [];
  if (stalled !== undefined) {
    checks.push(fail(id, `${id} has stopped replicating: ${stalled.message}`, wayOutOf(stalled)));
  } else if (holding !== undefined) {
    checks.push(holdCheck(id, holding));
  } else if (lag.seconds > MAX_LAG_SECONDS) {
    checks.push(
      warn(
        id,
        `${id} is ${counted(lag.entries, 'entry', 'entries')} behind, for ${Math.round(lag.seconds)} s.`,
        'Check its load and its disk.',
      ),
    );
  } else {
    checks.push(
      ok(
        id,
        `${id}: ${role}, ${lifecycle}, ${counted(lag.entries, 'entry', 'entries')} behind, ${counted(conflicts, 'conflict')} decided`,
      ),
    );
  }
  for (const alarm of alarms.filter(({ name }) => name !== HOLD_ALARM && name !== WRITING_ALARM)) {
    const { message, advice } = splitSentence(
      alarm.message,
      `See what the log of ${id} says at that time: its terminal, journalctl or docker logs, or ${id}.log in --dir of \`up\` and \`demo\`.`,
    );
    checks.push(warn(id, `${id}: ${message}`, advice));
  }
  for (const { origin, expected, reason, answer } of waitingFor) {
    checks.push(
      warn(
        id,
        `${id} waits for ${origin}:${expected}: ${sentence(reason)}`,
        answer === undefined ? `${origin} is about to be asked to publish it again.` : sentence(answer),
      ),
    );
  }
  // An alarm has said what is a surprise.
  const known = leftOut.filter(({ type, unexpected }) => !(unexpected && type === 'trigger'));
  for (const left of known.slice(0, MAX_LEFT_OUT)) checks.push(leftOutCheck(id, left, `${id}: `));
  if (quarantined > 0) {
    checks.push(
      warn(
        id,
        `${id} has quarantined ${counted(quarantined, 'message')}.`,
        'None was applied. `antiphon quarantine list` shows them, and why; `retry` and `discard` are the ways out.',
      ),
    );
  }
  const differenceMs = status.nowMs - nowMs;
  if (Math.abs(differenceMs) > MAX_CLOCK_DIFFERENCE_MS) {
    checks.push(
      warn(
        id,
        `The clock of ${id} is ${Math.round(differenceMs)} ms from this machine's.`,
        'Keep both machines synchronized with NTP: the last writer wins by these clocks.',
      ),
    );
  }
  return checks;
}

/** What stays in a database is said; where a program keeps rows in it, it is no trifle. */
export function leftOutCheck(
  id: string,
  { type, name, reason, isData = false }: LeftOut,
  prefix = '',
): Check {
  const message = `${prefix}${prefix === '' ? 'The' : 'the'} ${type} ${name} is not replicated: ${sentence(reason)}`;
  return isData ? warn(id, message, STAYS) : ok(id, message);
}

/** What stays in the database of `id` is said of its file as well, and once is enough. */
export function withoutRepetition(
  file: readonly Check[],
  members: readonly Check[],
  id: string | undefined,
): readonly Check[] {
  const said = new Set(members.map(({ message }) => message));
  const lower = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1);
  return [...file.filter(({ message }) => !said.has(`${id}: ${lower(message)}`)), ...members];
}

/**
 * What ends a changed schema stands in its message; no transaction is refused there that could be
 * tried again.
 */
function holdCheck(id: string, { code, message: text }: NonNullable<ReplicaStatus['holding']>): Check {
  if (code === 'SCHEMA_DRIFT') {
    const { message, advice } = splitSentence(text);
    return fail(id, `${id} holds: ${message}`, advice);
  }
  const advice =
    'Nothing was skipped. It resumes automatically once its database takes the transaction, or at once with ' +
    `\`antiphon quarantine retry --replica ${id}\`.`;
  return fail(id, `${id} holds: ${text}`, advice);
}

function versionChecks(statuses: readonly ReplicaStatus[]): readonly Check[] {
  const versions = Array.from(new Set(statuses.map(({ version }) => version))).sort();
  if (versions.length === 0) return [];
  const message = `The replicas run Antiphon ${versions.join(' and ')}.`;
  return [
    versions.length === 1
      ? ok('versions', message)
      : warn('versions', message, 'Upgrade all to the same version.'),
  ];
}

/** What the file says against what the cluster agreed on. */
export function agreementChecks(config: Config, document: ClusterDocument): readonly Check[] {
  const checks: Check[] = [];
  const theirs = describeTopology(document.topology);
  const ours = config.topology === undefined ? theirs : describeTopology(config.topology);
  if (ours !== theirs) {
    checks.push(
      fail(
        'config',
        `\`topology\`: the file says ${ours}, the cluster has ${theirs}.`,
        'Use the topology of the cluster.',
      ),
    );
  }
  const [ourUpdate, theirUpdate] = [describeUpdate(config.update), describeUpdate(document.update)];
  if (ourUpdate !== theirUpdate) {
    checks.push(
      fail(
        'config',
        `\`update\`: the file says ${ourUpdate}, the cluster has ${theirUpdate}.`,
        'Use the update mode of the cluster, with the same settings.',
      ),
    );
  }
  for (const difference of limitsDifference(document.limits, config.limits ?? {})) {
    checks.push(
      fail('config', `${difference}.`, 'Leave it out of the file: the replica takes what is agreed.'),
    );
  }
  const agreed = usersTables(document.schema.tables)
    .map(({ name }) => name)
    .sort();
  const named = Array.from(config.tables ?? agreed).sort();
  if (JSON.stringify(named) !== JSON.stringify(agreed)) {
    checks.push(
      fail(
        'config',
        `\`tables\`: the file names ${named.join(', ')}, the cluster replicates ${agreed.join(', ')}.`,
        'Use the tables of the cluster, or leave `tables` out.',
      ),
    );
  }
  return checks.length > 0
    ? checks
    : [ok('config', `the file agrees with the cluster: ${counted(agreed.length, 'table')}, ${ours}`)];
}

function wayOutOf({ code, tables }: NonNullable<ReplicaStatus['stalled']>): string {
  if (code === 'LOG_REPLACED') return 'Stop the replicas and follow docs/lost-log.md.';
  if (tables !== undefined) return `Recapture ${tables.join(', ')}, with --dry-run first. See docs/cli.md.`;
  return isErrorCode(code)
    ? ERROR_CODES[code].do
    : 'Find out why before it is started again, and keep its database.';
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}
