import { replicatedTables, type InspectedTable, type StoreInspection } from '@antiphon/core';
import { stringify } from 'yaml';

/**
 * Lines of antiphon.yaml with which a cluster can be created from this database: without the tables
 * that have `unfit` rows, and without what is in the way otherwise.
 */
export function configLines(
  inspection: StoreInspection,
  localTriggers: readonly string[],
  unfit: ReadonlySet<string> = new Set(),
): readonly string[] {
  const { triggers = [] } = inspection;
  const unusable = new Set([
    ...unfit,
    ...triggers.flatMap(({ table, problem }) => (problem === undefined ? [] : [table])),
  ]);
  const tables = withTheirParents(
    replicatedTables(inspection).filter(({ schema }) => !unusable.has(schema.name)),
  ).map(({ schema }) => schema.name);
  const staying = triggers
    .filter(({ table, uses, problem }) => tables.includes(table) && uses.length > 0 && problem === undefined)
    .map(({ name }) => name);
  const local = [...new Set([...localTriggers, ...staying])];
  return [
    ...(tables.length === 0 ? [] : [`tables: ${flow(tables)}`]),
    ...(local.length === 0 ? [] : [`localTriggers: ${flow(local)}`]),
  ];
}

/** Without those that refer to a table that is not among them, however far that reaches. */
function withTheirParents(tables: readonly InspectedTable[]): readonly InspectedTable[] {
  const all = new Set(tables.map(({ schema }) => schema.name));
  const dropped = new Set<string>();
  for (let before = -1; before !== dropped.size;) {
    before = dropped.size;
    for (const { schema, parents = [], missingParents = [] } of tables) {
      const lost =
        missingParents.length > 0 || parents.some((parent) => dropped.has(parent) || !all.has(parent));
      if (lost) dropped.add(schema.name);
    }
  }
  return tables.filter(({ schema }) => !dropped.has(schema.name));
}

function flow(names: readonly string[]): string {
  // `$` would begin an environment variable.
  return stringify(names, { collectionStyle: 'flow', lineWidth: 0 }).trim().replaceAll('$', '$$$$');
}
