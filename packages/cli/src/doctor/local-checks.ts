import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { nodeProblem, OLDEST_NODE_VERSION, toAntiphonError } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import type { Config } from '../config/config.js';
import { ok, warn, fail, type Check } from './check.js';

const FEW_BYTES = 500_000_000;

export function nodeCheck(version: string = process.versions.node): Check {
  const problem = nodeProblem({ version, execPath: process.execPath });
  if (problem === undefined) return ok('node', `Node.js ${version}`);
  return fail('node', `Node.js ${version} is too old`, `Install Node.js ${OLDEST_NODE_VERSION} or newer.`);
}

/** The database of the configuration: the file, its disk, and whether its tables can be replicated. Changes nothing. */
export async function databaseChecks({ sqliteFile, tables }: Config): Promise<readonly Check[]> {
  const folder = dirname(sqliteFile);
  try {
    accessSync(existsSync(sqliteFile) ? sqliteFile : folder, constants.R_OK | constants.W_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return [
      fail(
        'database',
        `${sqliteFile} can't be written (${code})`,
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
  return [disk, ...(await tableChecks(sqliteFile, tables))];
}

async function tableChecks(file: string, names: readonly string[] | undefined): Promise<readonly Check[]> {
  const store = sqlite({ file });
  try {
    const { tables, identity } = await store.inspect(names === undefined ? {} : { tables: names });
    const who =
      identity === undefined ? 'no replica yet' : `replica ${identity.replica} of ${identity.cluster}`;
    const rows = tables.reduce((sum, { rowCount }) => sum + rowCount, 0);
    const unsupported = tables.flatMap(({ schema, unsupported: why }) =>
      why === undefined
        ? []
        : [warn('database', `${schema.name}: ${why}`, 'Change the table, or name the others in `tables`.')],
    );
    return [ok('database', `${file}: ${who}, ${tables.length} tables, ${rows} rows`), ...unsupported];
  } catch (thrown) {
    return [
      fail(
        'database',
        toAntiphonError(thrown).message,
        'Check the file: sqlite3 FILE "PRAGMA integrity_check"',
      ),
    ];
  } finally {
    await store.close();
  }
}

function diskCheck(folder: string): Check {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const message = `${(free / 1e9).toFixed(1)} GB free for the database`;
  return free < FEW_BYTES
    ? warn('disk', message, 'Make room: a replica stops applying on a full disk.')
    : ok('disk', message);
}
