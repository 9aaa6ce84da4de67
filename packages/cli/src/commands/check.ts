import { resolve } from 'node:path';
import {
  AntiphonError,
  counted,
  type CreationChoice,
  creationObstacles,
  creationRemarks,
  type LeftOut,
  missingTables,
  replicatedTables,
  stayingBehind,
  workingChoice,
} from '@antiphon/core';
import { inspectFile, type FileInspection } from '@antiphon/sqlite';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { OTHER_PROGRAMS } from '../output/other-programs.js';
import { styled } from '../output/style.js';
import { formatTable } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import {
  chosen,
  commaList,
  defineCommand,
  tableChoice,
  type CommandHost,
  type TableChoice,
} from './define.js';
import { configLines } from './pasted-lines.js';

interface CheckOptions {
  readonly tables?: TableChoice;
  readonly localTriggers?: readonly string[];
}

/** What there is to say about creating a cluster from a database. */
interface Findings {
  readonly file: string;
  readonly inspection: FileInspection;
  readonly leftOut: readonly LeftOut[];
  /** Why a cluster cannot be created from it, whoever writes. */
  readonly obstacles: readonly string[];
  readonly remarks: readonly string[];
  /** What is to be said besides where several replicas write. */
  readonly severalWriters: readonly string[];
  /** For antiphon.yaml: what can be replicated without any of the obstacles. */
  readonly lines: readonly string[];
}

export function defineCheck(host: CommandHost): void {
  defineCommand<CheckOptions>(host, {
    name: 'check',
    description: 'say what of a database can be replicated, before anything is; changes nothing',
    examples: ['antiphon check shop.db', 'antiphon check shop.db --tables orders,customers'],
    configure: (command) =>
      void command
        .argument('<file>', 'the SQLite database')
        .option(
          '--tables <names>',
          'only these tables, or `auto`, as with `tables` in antiphon.yaml',
          tableChoice,
        )
        .option('--local-triggers <names>', 'triggers that stay in this database', commaList),
    run: async (options, { terminal, cwd, signal }, [file = '']) => {
      const path = resolve(cwd, file);
      const { localTriggers } = options;
      const tables = chosen(options.tables);
      const inspection = await inspectFile(path, {
        ...(tables && { tables }),
        ...(localTriggers && { localTriggers }),
        rows: true,
        signal,
      });
      const choice = await choiceOf(path, inspection, { ...(localTriggers && { localTriggers }), signal });
      const findings = findingsOf(path, inspection, tables, choice);
      show(findings, terminal);
      return findings.obstacles.length === 0 ? EXIT.ok : EXIT.failed;
    },
  });
}

/** With which a cluster can be created: fewer tables may need more local triggers. */
async function choiceOf(
  path: string,
  inspection: FileInspection,
  {
    localTriggers = [],
    signal,
  }: { readonly localTriggers?: readonly string[]; readonly signal: AbortSignal },
): Promise<CreationChoice> {
  const rowVersions = false;
  const { tables } = workingChoice(inspection, { named: false, rowVersions, unfit: tablesOf(inspection) });
  const isLess = tables.length < replicatedTables(inspection).length;
  const narrowed = isLess ? await inspectFile(path, { tables, localTriggers, signal }) : inspection;
  const staying = workingChoice(narrowed, { named: true, rowVersions }).localTriggers;
  return { tables, localTriggers: [...new Set([...localTriggers, ...staying])] };
}

function findingsOf(
  file: string,
  inspection: FileInspection,
  tables: readonly string[] | undefined,
  choice: CreationChoice,
): Findings {
  const missing = missingTables(inspection, tables ?? []);
  if (missing !== undefined)
    throw new AntiphonError('BAD_OPTION', `${file} has no table ${missing}. Correct --tables.`);
  const named = tables !== undefined;
  const one = { named, rowVersions: false };
  const several = { named, rowVersions: true };
  const obstacles = [
    ...taken(inspection),
    ...creationObstacles(inspection, one),
    ...unfit(inspection),
    ...nothing(inspection),
  ];
  const remarks = creationRemarks(inspection, one);
  const severalWriters = [
    ...creationObstacles(inspection, several).filter((line) => !obstacles.includes(line)),
    ...creationRemarks(inspection, several).filter((line) => !remarks.includes(line)),
  ];
  // What is in the way is said there.
  const leftOut = stayingBehind(inspection).filter(({ unexpected }) => !unexpected);
  return {
    file,
    inspection,
    leftOut,
    obstacles,
    remarks,
    severalWriters,
    lines: inspection.identity === undefined ? configLines(choice) : [],
  };
}

function tablesOf({ unfitRows }: FileInspection): ReadonlySet<string> {
  return new Set(unfitRows.map(({ table }) => table));
}

/**
 * Of a replica's file: creating would be refused as well, after everything else has been set up.
 */
function taken({ identity }: FileInspection): readonly string[] {
  if (identity === undefined) return [];
  const { replica, cluster } = identity;
  return [
    `It is already replica ${replica} of cluster ${cluster}. Start it as that one. To create another cluster ` +
      'from what it holds, make a copy of it an ordinary database again (docs/lost-log.md, way 4).',
  ];
}

function unfit({ unfitRows }: FileInspection): readonly string[] {
  return unfitRows.map(({ table, rows, why, sql }) =>
    why === 'too large'
      ? `Table ${table} has ${counted(rows, 'row')} too large for a cluster (64 MiB a value, 128 MiB a row, unless it is created with larger limits). Find them with \`${sql}\`. Split the values, keep them outside of the database, or create the cluster with larger \`limits.valueBytes\` and \`limits.rowBytes\`.`
      : `Table ${table} has ${counted(rows, 'row')} with NULL in the primary key, which cannot be told from others. Find them with \`${sql}\`. Give them a value, or delete them.`,
  );
}

function nothing(inspection: FileInspection): readonly string[] {
  if (replicatedTables(inspection).length > 0) return [];
  return [
    inspection.tables.length === 0
      ? 'There is no table: a cluster begins with those of its first replica. Create them, or start this replica after another one.'
      : 'No table can be replicated. Change what the reasons above name.',
  ];
}

function show(findings: Findings, terminal: Terminal): void {
  const { file, inspection, leftOut, obstacles, remarks, severalWriters, lines } = findings;
  const replicated = replicatedTables(inspection);
  if (terminal.json) {
    terminal.out(
      `${toJson({
        file,
        ...(inspection.identity && { replica: inspection.identity }),
        tables: replicated.map(({ schema, rowCount, numbered = false }) => ({
          name: schema.name,
          rows: rowCount,
          columns: schema.columns.length,
          numbered,
        })),
        leftOut: leftOut.map(({ type, name, reason, isData = false }) => ({ type, name, reason, isData })),
        views: (inspection.views ?? []).flatMap(({ name, obstacle }) =>
          obstacle === undefined ? [name] : [],
        ),
        obstacles,
        remarks,
        severalWriters,
        config: lines,
      })}\n`,
    );
    return;
  }
  const section = (title: string, texts: readonly string[], mark = '  '): void => {
    if (texts.length > 0)
      terminal.out(
        `\n${styled(terminal, 'bold', title)}\n${texts.map((text) => `${mark}${text}\n`).join('')}`,
      );
  };
  terminal.out(`${file}${whoseIs(inspection)}\n`);
  if (replicated.length > 0) {
    const columns = [{ title: 'replicated' }, { title: 'rows', align: 'right' }, { title: 'keys' }] as const;
    const rows = replicated.map(({ schema, rowCount, numbered }) => [
      schema.name,
      String(rowCount),
      numbered === true ? 'numbered by the database' : 'given',
    ]);
    terminal.out(`\n${formatTable(columns, rows, terminal)}`);
  }
  const views = (inspection.views ?? []).filter(({ obstacle }) => obstacle === undefined);
  section(
    'with them go the views',
    views.map(({ name }) => name),
  );
  section(
    'left out',
    leftOut
      .filter(({ isData }) => isData !== true)
      .map(({ type, name, reason }) => `the ${type} ${name}: ${reason}`),
  );
  section(
    'left out, with the rows that programs keep there: no other replica gets them',
    leftOut
      .filter(({ isData }) => isData === true)
      .map(({ type, name, reason }) => `the ${type} ${name}: ${reason}`),
    `${styled(terminal, 'yellow', '!')} `,
  );
  section('to know', remarks, `${styled(terminal, 'yellow', '!')} `);
  section(
    'where several replicas write (topology mode `multi-primary`)',
    severalWriters,
    `${styled(terminal, 'yellow', '!')} `,
  );
  section('in the way', obstacles, `${styled(terminal, 'red', '✗')} `);
  section('for antiphon.yaml', lines);
  terminal.out(
    obstacles.length === 0
      ? `\nA cluster can be created from it. ${OTHER_PROGRAMS}\n`
      : `\nA cluster cannot be created from it as it is${lines.length > 0 ? `; with the lines above it can${withoutThem(inspection)}` : ''}.\n`,
  );
}

function withoutThem(inspection: FileInspection): string {
  const tables = [...tablesOf(inspection)];
  return tables.length === 0 ? '' : `, without ${tables.join(', ')} and what refers to it`;
}

function whoseIs({ identity }: FileInspection): string {
  return identity === undefined ? '' : `: replica ${identity.replica} of cluster ${identity.cluster}`;
}
