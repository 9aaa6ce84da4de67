import { AntiphonError, deletesMost, isSameName, shellWord, type RowDifferences } from '@antiphon/core';
import type { RecaptureResult } from '@antiphon/replica';
import { askMembers, type ClusterClient } from '@antiphon/client';
import { nobodyAnswers } from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { databaseValue, keyToText, toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { limitsOf } from './sql-options.js';

interface RecaptureCommandOptions extends TargetOptions {
  readonly replica?: string;
  readonly dryRun?: boolean;
  readonly deleteRows?: boolean;
  /** Seconds. */
  readonly timeout: number;
}

const DEFAULT_TIMEOUT_S = 600;
const MAX_TIMEOUT_S = 86_400;

export function defineRecapture(host: CommandHost): void {
  defineCommand<RecaptureCommandOptions>(host, {
    name: 'recapture',
    description: 'find what changed in a table while nobody captured it, and replicate it',
    examples: ['antiphon recapture orders --dry-run', 'antiphon recapture orders --replica eu-2'],
    configure: (command) => {
      command
        .argument('<table>', 'that was rebuilt, or lost its triggers')
        .option('--dry-run', 'say what is different, and change nothing')
        .option('--delete-rows', 'confirm that most rows of the table, or all, are to be deleted everywhere')
        .option('-r, --replica <id>', 'where it happened (default: the one that has stalled for it)')
        .option(
          '-t, --timeout <seconds>',
          'give up after so long: the whole log is read',
          wholeNumber(1, MAX_TIMEOUT_S),
          DEFAULT_TIMEOUT_S,
        );
      addTargetOptions(command);
    },
    run: async (
      { dryRun = false, deleteRows = false, ...options },
      { terminal, env, cwd, signal },
      [table = ''],
    ) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const id = await replicaFor(client, table, options.replica);
      const { timeoutMs, answer } = limitsOf(options, signal);
      const asked = { table, dryRun, deleteRows, timeoutMs };
      const result = await client.replica(id).ask('recapture', asked, answer);
      if (terminal.json) terminal.out(`${toJson(asJson(result))}\n`);
      else show(result, terminal);
      return result.notWritten === undefined ? EXIT.ok : EXIT.failed;
    },
  });
}

/** Only a replica that has stalled needs it, and usually there is one. */
async function replicaFor(client: ClusterClient, table: string, named: string | undefined): Promise<string> {
  if (named !== undefined) {
    await client.requireMember(named);
    return named;
  }
  const answers = (await askMembers(client)).flatMap(({ status }) => status ?? []);
  // One that holds for it, because it is gone or has another shape, has something to say about it
  // as well.
  const stalled = answers.filter(
    ({ stalled: reason, holding }) =>
      reason?.tables?.some((name) => isSameName(name, table)) === true ||
      (holding?.code === 'SCHEMA_DRIFT' && isSameName(holding.table ?? '', table)),
  );
  const [only, another] = stalled.map(({ id }) => id);
  if (another !== undefined) {
    const ids = stalled.map(({ id }) => id).join(', ');
    throw new AntiphonError(
      'BAD_OPTION',
      `Changes of ${table} may have gone uncaptured on ${ids}. Say which one is meant with \`--replica\`.`,
      { context: { table, option: '--replica' } },
    );
  }
  const id = only ?? client.address.replica ?? answers[0]?.id;
  if (id === undefined) throw nobodyAnswers(client.cluster);
  return id;
}

function show(result: RecaptureResult, terminal: Terminal): void {
  const { table, replica, outcome, reason, remaining, dryRun } = result;
  const name = styled(terminal, 'bold', table);
  if (outcome === 'nothing') {
    terminal.out(
      `Nothing to recapture: there is no sign that changes of ${name} on ${replica} went uncaptured.\n`,
    );
    showWritten(result, terminal);
    if (remaining.length > 0) terminal.out(`Recapture there: ${remaining.join(', ')}\n`);
    return;
  }
  terminal.out(`${name} on ${replica}${reason === undefined ? '' : `, since ${reason}`}:\n`);
  showRows(terminal, result.changed, 'changed');
  showRows(terminal, result.onlyHere, 'only here');
  showRows(terminal, result.missingHere, 'missing here');
  terminal.out(`${dryRun ? planOf(result) : doneOf(result)}\n`);
  if (result.keptIn !== undefined)
    terminal.out(`The rows as they were are kept in table ${result.keptIn} of the database of ${replica}.\n`);
  showWritten(result, terminal);
  if (remaining.length > 0) terminal.out(`Still to be recaptured: ${remaining.join(', ')}\n`);
  else if (result.replicating && !dryRun) terminal.out(`${replica} replicates again.\n`);
}

function showRows(terminal: Terminal, { count, keys }: RowDifferences, what: string): void {
  const rows = count === 1 ? 'row' : 'rows';
  terminal.out(`  ${count.toLocaleString('en-US')} ${rows} ${what}${count === 0 ? '' : ':'}`);
  const shown = keys.map((key) => key.map(keyToText).join('/'));
  if (count > 0) terminal.out(` ${shown.join(', ')}${count > keys.length ? ', …' : ''}`);
  terminal.out('\n');
}

function showWritten({ writtenAgain, notWritten, table }: RecaptureResult, terminal: Terminal): void {
  if (writtenAgain > 0) {
    const rows = writtenAgain === 1 ? 'row was' : 'rows were';
    terminal.out(
      `${writtenAgain.toLocaleString('en-US')} ${rows} written again as writes of this replica.\n`,
    );
  }
  if (notWritten === undefined) return;
  const count = notWritten.rows.toLocaleString('en-US');
  terminal.out(
    `${styled(terminal, 'red', `${count} kept rows could not be written again`)}: ${notWritten.reason}\n` +
      `Change what is in the way, then run \`antiphon recapture ${shellWord(table)}\` again.\n`,
  );
}

function isSame({ changed, onlyHere, missingHere }: RecaptureResult): boolean {
  return changed.count + onlyHere.count + missingHere.count === 0;
}

function planOf(result: RecaptureResult): string {
  const { table, replica } = result;
  const quoted = `"${table.replaceAll('"', '""')}"`;
  const again = `\`antiphon recapture ${shellWord(table)} --replica ${replica}\``;
  if (isSame(result)) return `Nothing was changed. ${again} captures the table again.`;
  if (result.way === 'set-back') {
    return (
      `Nothing was changed. Other programs may not write here, so ${again} sets these rows back to what replication knows, ` +
      'and keeps them in a table of the database.'
    );
  }
  const gone =
    result.missingHere.count === 0
      ? ''
      : '; the rows that are missing here are deleted everywhere: put those back first that nobody meant to delete, ' +
        'from the file of another replica or from a backup';
  if (deletesMost(result)) {
    return (
      `Nothing was changed. These are most rows of the table, or all. Put them back first, from the file of another replica ` +
      `(ATTACH 'FILE' AS other; INSERT INTO main.${quoted} SELECT * FROM other.${quoted};) or from a backup, and look again. ` +
      `Only if they are to be deleted everywhere: ${again.replace(/`$/, '')} --delete-rows\``
    );
  }
  if (result.way === 'write-again') {
    return (
      `Nothing was changed. Only writes through the replica are allowed here, so ${again} sets these rows back to what replication knows, ` +
      `and writes them again as writes of the replica${gone}.`
    );
  }
  return `Nothing was changed. ${again} sends these changes to the other replicas${gone}.`;
}

function doneOf(result: RecaptureResult): string {
  if (isSame(result)) return 'The table is captured again.';
  if (result.way !== 'capture') return 'These rows were set back to what replication knows.';
  return 'The table is captured again, and these changes go to the other replicas.';
}

function asJson(result: RecaptureResult): object {
  const rows = ({ count, keys }: RowDifferences): object => ({
    count,
    keys: keys.map((key) => key.map(databaseValue)),
  });
  const { changed, onlyHere, missingHere, ...rest } = result;
  return { ...rest, changed: rows(changed), onlyHere: rows(onlyHere), missingHere: rows(missingHere) };
}
