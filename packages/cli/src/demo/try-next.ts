import { relative } from 'node:path';
import { shellWord } from '@antiphon/core';
import type { Topology } from '@antiphon/replica';
import type { LocalReplica } from '../cluster/local-cluster.js';

export interface TryNext {
  readonly replicas: readonly LocalReplica[];
  readonly topology: Topology;
  readonly mode: 'async' | 'sync';
  /** Where the reader is to type it: what is shown counts from there. */
  readonly cwd: string;
  /** How this user starts the command there, like `npx antiphon`. */
  readonly command: string;
  /** Of the process of the first one. */
  readonly primaryPid?: number | undefined;
  /** That folder as it is called from the current one; absent when it is the current one. */
  readonly folder?: string;
}

/** What to type into another terminal now: exact commands, one a line. */
export function tryNext({
  replicas,
  topology,
  mode,
  cwd,
  command,
  folder,
  primaryPid,
}: TryNext): readonly string[] {
  const [first, second = first] = replicas;
  if (first === undefined || second === undefined) return [];
  const shown = (file: string): string => shellWord(relative(cwd, file) || file);
  const writable = topology.mode === 'multi-primary' ? second : first;
  const reader = topology.mode === 'multi-primary' ? first : second;
  const where = folder === undefined ? '' : ` (in ${shellWord(folder)})`;
  const killing =
    topology.mode === 'multi-primary' || primaryPid === undefined
      ? ['  kill -9 PID                  any replica of the list above: it is started again and catches up']
      : endThePrimary({ pid: primaryPid, primary: first.id, file: shown(first.file), mode, command, where });
  if (mode === 'sync') {
    return [
      `Write through ${writable.id}, and read it at once from the file of ${reader.id}${where}:`,
      `  ${command} exec --replica ${writable.id} "UPDATE cities SET population = population + 1 WHERE name = 'Paris'"`,
      `  sqlite3 -cmd '.timeout 5000' ${shown(reader.file)} "SELECT id, name, country, population FROM ` +
        `cities WHERE name = 'Paris'"`,
      'Wait for fewer acknowledgements, ask what became of a write, read what was acknowledged anywhere:',
      `  ${command} exec --replica ${writable.id} --acks majority "DELETE FROM cities WHERE country = 'AQ'"`,
      `  ${command} outcome ${first.id}:1`,
      `  ${command} query --replica ${reader.id} --consistency strong "SELECT count(*) FROM cities"`,
      `  ${command} status`,
      `  ${command} verify`,
      ...killing,
    ];
  }
  return [
    `Write into the file of ${writable.id} with the sqlite3 shell, and read it from the file of ${reader.id}${where}:`,
    `  sqlite3 -cmd '.timeout 5000' ${shown(writable.file)} "UPDATE cities SET population = population + ` +
      `1 WHERE name = 'Paris'"`,
    `  sqlite3 -cmd '.timeout 5000' ${shown(reader.file)} "SELECT id, name, country, population FROM ` +
      `cities WHERE name = 'Paris'"`,
    `Or use the command${where}:`,
    `  ${command} status`,
    `  ${command} exec --replica ${writable.id} "DELETE FROM cities WHERE country = 'AQ'"`,
    `  ${command} query --replica ${reader.id} "SELECT country, count(*) AS cities FROM cities GROUP BY ` +
      `country ORDER BY 2 DESC LIMIT 5"`,
    `  ${command} changes`,
    `  ${command} verify`,
    ...killing,
  ];
}

interface Ending {
  readonly pid: number;
  readonly primary: string;
  readonly file: string;
  readonly mode: 'async' | 'sync';
  readonly command: string;
  readonly where: string;
}

/** With failover. In a synchronous cluster other programs write nothing that could be kept. */
function endThePrimary({ pid, primary, file, mode, command, where }: Ending): readonly string[] {
  const history = `  ${command} status --history`;
  if (mode === 'sync')
    return [
      `End the primary, ${primary}: another one takes its place, and ${primary} follows it when it is ` +
        `started again${where}:`,
      `  kill -9 ${pid}`,
      history,
    ];
  return [
    `End the primary, ${primary}: another one takes its place. What is written into its file after that ` +
      `is kept aside${where}:`,
    `  kill -9 ${pid}; sqlite3 -cmd '.timeout 5000' ${file} "UPDATE cities SET population = 0 WHERE name = 'Paris'"`,
    history,
    `  ${command} rescue list`,
  ];
}
