import {
  whereTriggerFires,
  type InspectedTable,
  type InspectedTrigger,
  type InspectedView,
  type InspectOptions,
  type LeftOut,
  type StoreInspection,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import { hidingObstacle } from './hiding-obstacle.js';
import { isMetadataName, quoteText } from './identifiers.js';
import { countRows, inspectTables, type TableInspection } from './inspection.js';
import { inspectDependents, type DependentObjects } from './local-triggers.js';
import { tableSchema, type LocalTable } from './local-table.js';
import { migrationTool } from './migration-tables.js';
import { REQUESTS } from './requests.js';
import { originalTriggers } from './user-triggers.js';

/** What is in the database, for people and for the first replica of a cluster. */
export function inspectDatabase(
  connection: Connection,
  { tables: only, localTriggers }: InspectOptions = {},
): Omit<StoreInspection, 'identity'> {
  const found = inspectTables(connection, only);
  const replicated = found
    .filter((inspection) => inspection.type === 'supported')
    .map(({ table }) => table)
    .filter((table) => only !== undefined || leftOutReason(table) === undefined);
  const names = replicated.map(({ name }) => name);
  const dependents = inspectDependents(connection, names, localTriggers);
  const parents = only === undefined ? found : inspectTables(connection);
  const all = parents.map(({ table }) => table.name);
  const asked = new Set(found.map(({ table }) => table.name));
  return {
    ...(only !== undefined && { otherTables: all.filter((name) => !asked.has(name)) }),
    tables: found.map((inspection) =>
      inspectedTable(connection, inspection, only === undefined, { all, replicated: names }),
    ),
    views: dependents.views,
    triggers: dependents.triggers.filter((trigger) => !travels(trigger)),
    ddl: { engine: 'sqlite', statements: readDdl(connection, names, dependents) },
    requests: REQUESTS,
  };
}

function inspectedTable(
  connection: Connection,
  inspection: TableInspection,
  auto: boolean,
  { all, replicated }: { readonly all: readonly string[]; readonly replicated: readonly string[] },
): InspectedTable {
  const { table } = inspection;
  const schema = tableSchema(table);
  if (inspection.type === 'unsupported') {
    const { reason, isData } = inspection;
    return { schema, rowCount: 0, unsupported: reason, ...(isData && { isData }) };
  }
  const rowCount = countRows(connection, table.name);
  const leftOut = auto ? leftOutReason(table) : undefined;
  const obstacle = hidingObstacle(table);
  const wanted = new Set(table.foreignKeys.map(({ parent }) => parent.toLowerCase()));
  const parents = all.filter((name) => name !== table.name && wanted.has(name.toLowerCase()));
  const missingParents = parents.filter((name) => !replicated.includes(name));
  return {
    schema,
    rowCount,
    ...(leftOut === undefined ? {} : { leftOut }),
    ...(parents.length === 0 ? {} : { parents }),
    ...(missingParents.length === 0 ? {} : { missingParents }),
    ...(table.rowidKey ? { numbered: true } : {}),
    ...(obstacle === undefined ? {} : { unsupportedWithVersions: obstacle }),
  };
}

function leftOutReason({ name, columns }: LocalTable): string | undefined {
  const tool = migrationTool(
    name,
    columns.map((column) => column.name),
  );
  if (tool === undefined) return undefined;
  const notes = `${tool} notes there which migrations were run on this database`;
  // SQLite does not number such rows, as PostgreSQL does: their keys are NULL.
  const isNumbered = columns.every(({ declaredType }) => declaredType.toUpperCase() !== 'SERIAL');
  return isNumbered ? `${notes}; name it in \`tables\` to replicate it` : notes;
}

function travels({ uses, local, problem }: InspectedTrigger): boolean {
  return uses.length === 0 && !local && problem === undefined;
}

/**
 * Statements that make these tables elsewhere: tables, indexes, views, then triggers as their
 * authors wrote them. A view may name what comes after it: SQLite looks when it is used.
 */
function readDdl(
  connection: Connection,
  tables: readonly string[],
  { views, triggers }: DependentObjects,
): string[] {
  if (tables.length === 0) return [];
  const travelling = new Set([
    ...tables,
    ...views.filter(({ obstacle }) => obstacle === undefined).map(({ name }) => name),
  ]);
  const staying = new Set(triggers.filter((trigger) => !travels(trigger)).map(({ name }) => name));
  const rows = connection.db
    .prepare(
      `SELECT type, name, sql FROM sqlite_schema WHERE tbl_name IN (${[...travelling].map(quoteText).join(', ')}) AND sql IS NOT NULL
       ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END, rowid`,
    )
    .all() as { type: string; name: string; sql: string }[];
  const originals = originalTriggers(connection);
  return rows
    .filter(
      ({ name, type }) =>
        !isMetadataName(name) && !name.startsWith('sqlite_') && !(type === 'trigger' && staying.has(name)),
    )
    .map(({ type, name, sql }) => (type === 'trigger' ? (originals.get(name)?.original ?? sql) : sql));
}

/** What other replicas do not get of this database, given what the cluster replicates. */
export function leftOutOf(
  connection: Connection,
  replicated: readonly string[],
  { views, triggers }: DependentObjects,
): LeftOut[] {
  const names = new Set(replicated);
  return [
    ...inspectTables(connection)
      .filter(({ table }) => !names.has(table.name))
      .map(leftOutTable),
    ...views.flatMap(leftOutView),
    ...triggers.filter((trigger) => !travels(trigger)).map(leftOutTrigger),
  ];
}

function leftOutTable(inspection: TableInspection): LeftOut {
  const { name } = inspection.table;
  const known = inspection.type === 'unsupported' ? inspection.reason : leftOutReason(inspection.table);
  const reason = known ?? 'it is not among the tables with which the cluster was created';
  return {
    ...{ type: 'table', name, reason, unexpected: known === undefined },
    ...((inspection.type === 'supported' || inspection.isData) && { isData: true }),
  };
}

function leftOutView({ name, obstacle }: InspectedView): LeftOut[] {
  return obstacle === undefined ? [] : [{ type: 'view', name, reason: obstacle, unexpected: false }];
}

function leftOutTrigger(trigger: InspectedTrigger): LeftOut {
  const { name, local } = trigger;
  return { type: 'trigger', name, reason: whereTriggerFires(trigger), unexpected: !local };
}
