import type { ForeignKey, IndexedColumn, TrackedTable } from './local-table.js';

/** A foreign key between two replicated tables. */
export interface TableReference {
  readonly child: TrackedTable;
  readonly parent: TrackedTable;
  readonly actsOnDelete: boolean;
  readonly pairs: readonly {
    /** Name of the child's column. */
    readonly name: string;
    /** Its index; undefined for a generated one. */
    readonly from: number | undefined;
    /** The parent's, as its key compares it. */
    readonly to: IndexedColumn;
  }[];
}

/** Whether the captured images of the child show what it refers to. */
export function isCaptured({ pairs }: TableReference): boolean {
  return pairs.every(({ from }) => from !== undefined);
}

/** Without those that SQLite refuses itself, because the parent has no such key. */
export function referencesBetween(tables: readonly TrackedTable[]): TableReference[] {
  return tables.flatMap((child) =>
    child.foreignKeys.flatMap((foreignKey) => {
      const parent = findParent(tables, foreignKey);
      const to = parent === undefined ? undefined : parentColumns(parent, foreignKey);
      if (parent === undefined || to?.length !== foreignKey.columns.length) return [];
      const { names, columns, actsOnDelete } = foreignKey;
      const pairs = to.map((part, index) => ({ name: names[index] ?? '', from: columns[index], to: part }));
      return [{ child, parent, actsOnDelete, pairs }];
    }),
  );
}

/** Parents before what refers to them, as far as there is such an order. */
export function parentsFirst(tables: readonly TrackedTable[]): readonly TrackedTable[] {
  const references = referencesBetween(tables);
  const ordered = new Set<TrackedTable>();
  const visit = (table: TrackedTable, below: readonly TrackedTable[]): void => {
    if (ordered.has(table) || below.includes(table)) return;
    for (const { child, parent } of references) if (child === table) visit(parent, [...below, table]);
    ordered.add(table);
  };
  for (const table of tables) visit(table, []);
  return [...ordered];
}

/** SQL names tables and columns without regard to case. */
function findParent(tables: readonly TrackedTable[], { parent }: ForeignKey): TrackedTable | undefined {
  const name = parent.toLowerCase();
  return tables.find((table) => table.name.toLowerCase() === name);
}

/**
 * The parent's primary key, or the columns of the unique index that the foreign key names; in the
 * foreign key's order.
 */
function parentColumns(parent: TrackedTable, { parentNames }: ForeignKey): IndexedColumn[] | undefined {
  if (parentNames === undefined) return [...parent.key];
  const wanted = parentNames.map((name) =>
    parent.columns.findIndex((column) => column.name.toLowerCase() === name.toLowerCase()),
  );
  const candidates = [
    parent.key,
    ...parent.uniqueIndexes.filter(({ where }) => where === undefined).map(({ columns }) => columns),
  ];
  const key = candidates.find(
    (columns) =>
      columns.length === wanted.length &&
      wanted.every((index) => columns.some(({ column }) => column === index)),
  );
  return key === undefined
    ? undefined
    : wanted.flatMap((index) => key.find(({ column }) => column === index) ?? []);
}
