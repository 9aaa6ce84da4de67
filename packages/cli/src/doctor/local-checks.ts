import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  counted,
  creationObstacles,
  creationRemarks,
  missingTables,
  nodeProblem,
  OLDEST_NODE_VERSION,
  replicatedTables,
  stayingBehind,
  toAntiphonError,
  triggerObstacles,
} from '@antiphon/core';
import { inspectFile, type FileInspection } from '@antiphon/sqlite';
import type { Config } from '../config/config.js';
import { leftOutCheck } from './replica-checks.js';
import { ok, splitLast, splitSentence, warn, fail, type Check } from './check.js';

const FEW_BYTES = 500_000_000;
const MAX_LEFT_OUT = 20;
const LATER =
  'Put back what a trigger needs, drop it, or name it in `localTriggers` and start the replica again.';
const DAMAGED = 'Check the file: `sqlite3 FILE "PRAGMA integrity_check"`.';
const UNREADABLE: Readonly<Record<string, string>> = {
  STORE_BUSY: 'End the program that has locked the file, or its transaction.',
};

export function nodeCheck(version: string = process.versions.node): Check {
  const problem = nodeProblem({ version, execPath: process.execPath });
  if (problem === undefined) return ok('node', `Node.js ${version}`);
  return fail('node', `Node.js ${version} is too old.`, `Install Node.js ${OLDEST_NODE_VERSION} or newer.`);
}

/**
 * The database of the configuration: the file, its disk, and whether its tables can be replicated.
 * Changes nothing.
 */
export async function databaseChecks(config: Config): Promise<readonly Check[]> {
  const { sqliteFile } = config;
  const folder = dirname(sqliteFile);
  try {
    accessSync(existsSync(sqliteFile) ? sqliteFile : folder, constants.R_OK | constants.W_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return [
      fail(
        'database',
        `${sqliteFile} cannot be written (${code}).`,
        'Create the folder, or correct its owner and mode.',
      ),
    ];
  }
  const disk = diskCheck(folder);
  if (!existsSync(sqliteFile)) {
    return [
      disk,
      ok(
        'database',
        `${sqliteFile} does not exist yet: the replica creates it and gets the tables of the cluster`,
      ),
    ];
  }
  return [disk, ...(await tableChecks(config))];
}

async function tableChecks({
  sqliteFile: file,
  tables: names,
  localTriggers,
  topology,
  update,
}: Config): Promise<readonly Check[]> {
  let inspection: FileInspection;
  try {
    inspection = await inspectFile(file, {
      ...(names && { tables: names }),
      ...(localTriggers && { localTriggers }),
    });
  } catch (thrown) {
    const error = toAntiphonError(thrown);
    const { message, advice } = splitSentence(error.message, UNREADABLE[error.code] ?? DAMAGED);
    return [fail('database', message, advice)];
  }
  const { identity, triggers = [] } = inspection;
  const who =
    identity === undefined ? 'no replica yet' : `replica ${identity.replica} of ${identity.cluster}`;
  const replicated = replicatedTables(inspection);
  const rows = replicated.reduce((sum, { rowCount }) => sum + rowCount, 0);
  const severalWrite = topology?.mode === 'multi-primary' && update.mode === 'async';
  const options = { named: names !== undefined, rowVersions: severalWrite };
  const obstacles =
    identity === undefined ? creationObstacles(inspection, options) : triggerObstacles(triggers);
  return [
    ok('database', `${file}: ${who}, ${counted(replicated.length, 'table')}, ${counted(rows, 'row')}`),
    ...missingCheck(inspection, names),
    ...stayingBehind(inspection)
      .filter(({ unexpected }) => !unexpected)
      .slice(0, MAX_LEFT_OUT)
      .map((left) => leftOutCheck('database', names === undefined ? left : { ...left, isData: false })),
    ...obstacles.map((text): Check => {
      const { message, advice } = splitLast(text);
      return identity === undefined ? fail('database', message, advice) : warn('database', message, LATER);
    }),
    ...creationRemarks(inspection, options).map((text): Check => {
      const { message, advice } = splitLast(text);
      return warn('database', message, advice);
    }),
  ];
}

/** A replica that joins may have tables of its own beside those that it is to get. */
function missingCheck(inspection: FileInspection, names: readonly string[] = []): readonly Check[] {
  const { identity, tables, otherTables = [] } = inspection;
  if (identity !== undefined || tables.length + otherTables.length === 0) return [];
  const missing = missingTables(inspection, names);
  if (missing === undefined) return [];
  const advice = 'Correct `tables`, unless this replica is to get the table from another one.';
  return [warn('database', `The database has no table ${missing}.`, advice)];
}

function diskCheck(folder: string): Check {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const message = `${(free / 1e9).toFixed(1)} GB free for the database`;
  return free < FEW_BYTES
    ? warn('disk', `${message}.`, 'Free disk space: a replica stops applying on a full disk.')
    : ok('disk', message);
}
