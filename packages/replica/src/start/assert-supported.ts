import {
  AntiphonError,
  type CreationChoice,
  creationObstacles,
  missingTables,
  replicatedTables,
  type StoreInspection,
  workingChoice,
} from '@antiphon/core';
import type { Settings } from '../config/options.js';
import type { Deadline } from '../wait/deadline.js';

interface SupportOptions {
  readonly rowVersions: boolean;
  readonly deadline: Deadline;
}

/**
 * UNSUPPORTED_TABLE with all that keeps a cluster from being created from this database, and with
 * the settings under which nothing does.
 */
export async function assertSupported(
  settings: Settings,
  inspection: StoreInspection,
  { rowVersions, deadline }: SupportOptions,
): Promise<void> {
  assertTables(settings, inspection);
  const { cluster, id, store } = settings;
  const named = settings.tables !== undefined;
  const obstacles = creationObstacles(inspection, { named, rowVersions });
  if (obstacles.length === 0) return;
  const { tables } = workingChoice(inspection, { named, rowVersions });
  const isLess = tables.length < (named ? inspection.tables : replicatedTables(inspection)).length;
  const { localTriggers } = settings;
  // With fewer tables, other triggers use what is not replicated.
  const narrowed = await deadline.paused(() =>
    store.inspect({ tables, ...(localTriggers && { localTriggers }) }),
  );
  const choice = { tables: isLess ? tables : [], localTriggers: staying(narrowed, localTriggers) };
  throw new AntiphonError('UNSUPPORTED_TABLE', [...obstacles, ...advice(choice)].join(' '), {
    context: { cluster, replica: id },
  });
}

function staying(inspection: StoreInspection, localTriggers: readonly string[] = []): readonly string[] {
  const { localTriggers: found } = workingChoice(inspection, { named: true, rowVersions: false });
  return [...new Set([...localTriggers, ...found])];
}

/** As YAML and as JavaScript take it. */
function advice({ tables, localTriggers }: CreationChoice): readonly string[] {
  const lines = Object.entries({ tables, localTriggers }).flatMap(([key, names]) =>
    names.length === 0 ? [] : [`\`${key}: [${names.map((name) => JSON.stringify(name)).join(', ')}]\``],
  );
  return tables.length === 0 ? [] : [`A cluster can be created with ${lines.join(' and ')}.`];
}

/** BAD_OPTION when the database has not all of the tables that were named. */
export function assertTables({ tables = [] }: Settings, inspection: StoreInspection): void {
  const missing = missingTables(inspection, tables);
  if (missing === undefined) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `The database has no table ${missing}, and the cluster does not exist yet. ` +
      'Correct `tables`, create the table, or start the replica that has it first.',
  );
}
