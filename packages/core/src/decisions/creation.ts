import type { InspectedTable, InspectedTrigger, LeftOut, StoreInspection } from '../ports/store.js';

/** How a cluster is to be created from a database. */
export interface CreationOptions {
  /** Somebody named the tables; otherwise they are all that can be replicated. */
  readonly named: boolean;
  /** Rows have versions, since several replicas write. */
  readonly rowVersions: boolean;
}

/** The tables that a cluster created from this database would replicate. */
export function replicatedTables({ tables }: Pick<StoreInspection, 'tables'>): readonly InspectedTable[] {
  return tables.filter(({ unsupported, leftOut }) => unsupported === undefined && leftOut === undefined);
}

/** What would stay behind, with the reason. */
export function stayingBehind({ tables, views = [], triggers = [] }: StoreInspection): readonly LeftOut[] {
  return [
    ...tables.flatMap(({ schema, unsupported, leftOut, isData = false }): LeftOut[] => {
      const reason = unsupported ?? leftOut;
      const { name } = schema;
      return reason === undefined
        ? []
        : [{ type: 'table', name, reason, unexpected: false, ...(isData && { isData }) }];
    }),
    ...views.flatMap(({ name, obstacle }): LeftOut[] =>
      obstacle === undefined ? [] : [{ type: 'view', name, reason: obstacle, unexpected: false }],
    ),
    ...triggers.map((trigger): LeftOut => ({
      type: 'trigger',
      name: trigger.name,
      reason: whereTriggerFires(trigger),
      unexpected: !trigger.local,
    })),
  ];
}

/** Where a trigger that no other replica gets fires. A clause. */
export function whereTriggerFires({ table, uses, repeats }: InspectedTrigger): string {
  const what = uses.length === 0 ? '' : ` uses ${uses.join(', ')}, which is not replicated, and`;
  const fires = repeats
    ? 'fires here for every change, whichever replica made it'
    : 'fires only for what is written here, not when changes of other replicas are applied';
  return `it is on ${table}${what === '' ? ' and' : `,${what}`} ${fires}`;
}

/**
 * Why no cluster can be created from this database as it is, and what to do: one text for each
 * obstacle.
 */
export function creationObstacles(
  inspection: StoreInspection,
  { named, rowVersions }: CreationOptions,
): readonly string[] {
  const { tables, triggers = [] } = inspection;
  const reasons = new Map(stayingBehind(inspection).map(({ name, reason }) => [name, reason]));
  return [
    ...tables.flatMap(({ schema, unsupported }) =>
      !named || unsupported === undefined
        ? []
        : [
            `Table ${schema.name} cannot be replicated: ${unsupported}. Change it, or leave it out of \`tables\`.`,
          ],
    ),
    ...replicatedTables(inspection).flatMap(({ schema, missingParents = [], unsupportedWithVersions }) => [
      ...(named
        ? []
        : missingParents.map((parent) => missingParent(schema.name, parent, reasons.get(parent)))),
      ...(!rowVersions || unsupportedWithVersions === undefined
        ? []
        : [
            `Table ${schema.name} cannot be replicated where several replicas write: ${unsupportedWithVersions}. ` +
              'Change it, leave it out of `tables`, or let one replica write (topology mode `primary-replica`).',
          ]),
    ]),
    ...triggerObstacles(triggers),
  ];
}

/** A choice of tables and triggers with which nothing of this database is in the way. */
export interface CreationChoice {
  /** Empty: there is no such choice. */
  readonly tables: readonly string[];
  readonly localTriggers: readonly string[];
}

/**
 * The largest choice that works: without what cannot be replicated, the tables with `unfit` rows
 * and, unless somebody named the tables, whatever refers to either. Fewer tables may need more
 * local triggers: a second inspection tells.
 */
export function workingChoice(
  inspection: StoreInspection,
  { named, rowVersions, unfit = new Set() }: CreationOptions & { readonly unfit?: ReadonlySet<string> },
): CreationChoice {
  const { triggers = [] } = inspection;
  const unusable = new Set(triggers.flatMap(({ table, problem }) => (problem === undefined ? [] : [table])));
  const usable = replicatedTables(inspection).filter(
    ({ schema: { name }, unsupportedWithVersions }) =>
      !unfit.has(name) && !unusable.has(name) && !(rowVersions && unsupportedWithVersions !== undefined),
  );
  const tables = (named ? usable : withTheirParents(usable)).map(({ schema }) => schema.name);
  const staying = triggers.filter(
    ({ table, uses, problem }) => tables.includes(table) && uses.length > 0 && problem === undefined,
  );
  return { tables, localTriggers: staying.map(({ name }) => name) };
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

/** Warnings that do not keep a cluster from being created: one text each. */
export function creationRemarks(
  inspection: StoreInspection,
  { named, rowVersions }: CreationOptions,
): readonly string[] {
  const replicated = replicatedTables(inspection);
  const numbered = replicated.filter((table) => table.numbered === true).map(({ schema }) => schema.name);
  return [
    ...(named
      ? replicated.flatMap(({ schema, missingParents = [] }) =>
          missingParents.map(
            (parent) =>
              `Table ${schema.name} refers to ${parent}, which is not replicated: on the other replicas its rows have no parents, ` +
              'and programs that enforce foreign keys cannot write them. Name it in `tables` as well.',
          ),
        )
      : []),
    ...(rowVersions && numbered.length > 0 ? [numberedWarning(numbered)] : []),
  ];
}

/** For tables in which the database numbers the rows, in a cluster where several replicas write. */
export function numberedWarning(tables: readonly string[]): string {
  const [them, their] = tables.length === 1 ? ['it', 'its'] : ['them', 'their'];
  return (
    `The database numbers the rows of ${tables.join(', ')} (INTEGER PRIMARY KEY), and several replicas write. Two replicas that insert into ${them} ` +
    'at the same time give the same number to different rows: the later row replaces the earlier one, which is lost. ' +
    `Give ${their} rows keys that no other replica uses (UUIDs, or a range of numbers for each replica), or let one replica write (docs/several-writers.md).`
  );
}

function missingParent(child: string, parent: string, reason: string | undefined): string {
  return (
    `Table ${child} refers to ${parent}, which would be left out${reason === undefined ? '' : `: ${reason}`}. ` +
    `Make ${parent} a table that can be replicated, or name the tables to replicate in \`tables\`.`
  );
}

/** Triggers that could not work on another replica. Nothing when there is none. */
export function triggerObstacles(triggers: readonly InspectedTrigger[]): readonly string[] {
  const unusable = triggers.flatMap(({ name, table, problem }) =>
    problem === undefined
      ? []
      : [
          `Trigger ${name} on ${table} cannot be used (${problem}), so no change of ${table} could be applied. ` +
            `Put back what it needs, drop the trigger, or leave ${table} out of \`tables\`.`,
        ],
  );
  const undecided = triggers.filter(
    ({ uses, local, problem }) => uses.length > 0 && !local && problem === undefined,
  );
  if (undecided.length === 0) return unusable;
  const described = undecided.map(({ name, table, uses }) => `${name} on ${table} uses ${uses.join(', ')}`);
  const objects = [...new Set(undecided.flatMap(({ uses }) => uses))];
  // As YAML takes them: text in double quotes is JSON.
  const names = undecided
    .map(({ name }) => (/^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name)))
    .join(', ');
  return [
    ...unusable,
    `Some triggers use objects that are not replicated, so they cannot work on other replicas: ${described.join('; ')}. ` +
      `Replicate ${objects.join(', ')} as well where that is possible, drop the triggers, or leave them in this database alone: ` +
      `\`localTriggers: [${names}]\` (docs/cli.md).`,
  ];
}
