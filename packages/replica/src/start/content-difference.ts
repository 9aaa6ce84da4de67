import {
  type ClusterSchema,
  hasIndexKey,
  type InspectedTable,
  type TableSchema,
  usersTables,
} from '@antiphon/core';

/**
 * Why a database that no replica has used cannot join a cluster: it would be a merge, and nobody
 * has said which side wins. Nothing when it is empty: tables without rows that are exactly the
 * cluster's do no harm. `chosen`: the caller named its tables, so others in the file are its own
 * business.
 */
export function contentDifference(
  found: readonly InspectedTable[],
  schema: ClusterSchema,
  chosen: boolean,
): readonly string[] {
  const differences: string[] = [];
  for (const { schema: here, rowCount, unsupported, leftOut } of found) {
    const there = schema.tables.find((table) => table.name === here.name);
    if (there === undefined) {
      // What a cluster created here would leave out is this database's own business, and so is what
      // one was created without by a build that left such tables out.
      const wasLeftOut = hasIndexKey(here) && rowCount === 0;
      if (!chosen && unsupported === undefined && leftOut === undefined && !wasLeftOut)
        differences.push(`table ${here.name} (${rowCount} rows) is only here`);
      continue;
    }
    const unlike = tableDifference(here, there);
    if (unlike !== undefined) differences.push(`table ${here.name}: ${unlike}`);
    if (rowCount > 0) differences.push(`table ${here.name} has ${rowCount} rows here already`);
  }
  if (differences.length === 0) return [];
  const missing = usersTables(schema.tables).filter(
    (table) => !found.some(({ schema: here }) => here.name === table.name),
  );
  return [...differences, ...missing.map((table) => `table ${table.name} is only in the cluster`)];
}

/** How two tables of one name differ; undefined when they are alike. */
export function tableDifference(here: TableSchema, there: TableSchema): string | undefined {
  const [ours, theirs] = [columnNames(here), columnNames(there)];
  const onlyHere = ours.filter((name) => !theirs.includes(name));
  const onlyThere = theirs.filter((name) => !ours.includes(name));
  if (onlyHere.length > 0 || onlyThere.length > 0) {
    const parts = [
      onlyHere.length > 0 ? `columns only here: ${onlyHere.join(', ')}` : '',
      onlyThere.length > 0 ? `columns only in the cluster: ${onlyThere.join(', ')}` : '',
    ];
    return parts.filter((part) => part !== '').join('; ');
  }
  if (ours.join('\0') !== theirs.join('\0')) {
    return `columns in another order: here ${ours.join(', ')}, in the cluster ${theirs.join(', ')}`;
  }
  const [ourKey, theirKey] = [keyNames(here), keyNames(there)];
  if (ourKey !== theirKey) return `primary key (${ourKey}) here, (${theirKey}) in the cluster`;
  return rulesDifference(here.rules, there.rules);
}

/**
 * What decides whether a row is accepted must be the same everywhere, or one replica will refuse
 * what another has committed.
 */
function rulesDifference(
  here: readonly string[] | undefined,
  there: readonly string[] | undefined,
): string | undefined {
  if (here === undefined || there === undefined) return undefined;
  const onlyHere = here.filter((rule) => !there.includes(rule));
  const onlyThere = there.filter((rule) => !here.includes(rule));
  const parts = [
    onlyHere.length > 0 ? `rules for rows only here: ${onlyHere.join(', ')}` : '',
    onlyThere.length > 0 ? `rules for rows only in the cluster: ${onlyThere.join(', ')}` : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? undefined : parts.join('; ');
}

function columnNames(table: TableSchema): string[] {
  return table.columns.map((column) => column.name);
}

function keyNames(table: TableSchema): string {
  return table.key.map((index) => table.columns[index]?.name ?? '?').join(', ');
}
