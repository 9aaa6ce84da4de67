import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntiphonError } from '@antiphon/core';
import { openDatabase } from '@antiphon/sqlite';
import { CITY_TABLE } from './cities.js';

/** Says that everything in the folder came from a demo, which may therefore delete it. */
const MARKER = 'ANTIPHON-DEMO';
const MARKER_TEXT = 'The next `antiphon demo` deletes everything in this folder and starts anew.\n';

/**
 * An empty folder for a demo: every one starts anew.
 *
 * @throws AntiphonError BAD_OPTION when there is something in it that no demo wrote.
 */
export function prepareDemoFolder(folder: string): void {
  const entries = existsSync(folder) ? readdirSync(folder) : [];
  if (entries.length > 0 && !entries.includes(MARKER)) {
    const message = `${folder} is not empty and was not made by a demo. Choose another \`--dir\`.`;
    throw new AntiphonError('BAD_OPTION', message, { context: { folder } });
  }
  for (const entry of entries) rmSync(join(folder, entry), { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, MARKER), MARKER_TEXT);
}

/**
 * The database of the first replica, as any program would make it: it brings the table into the
 * cluster.
 */
export function createCityDatabase(file: string): void {
  const database = openDatabase(file);
  try {
    database.exec(CITY_TABLE);
  } finally {
    database.close();
  }
}
