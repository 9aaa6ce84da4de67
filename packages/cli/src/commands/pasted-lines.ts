import type { CreationChoice } from '@antiphon/core';
import { stringify } from 'yaml';

/** The lines of antiphon.yaml that make this choice. */
export function configLines({ tables, localTriggers }: CreationChoice): readonly string[] {
  return [
    ...(tables.length === 0 ? [] : [`tables: ${flow(tables)}`]),
    ...(localTriggers.length === 0 ? [] : [`localTriggers: ${flow(localTriggers)}`]),
  ];
}

function flow(names: readonly string[]): string {
  // `$` would begin an environment variable.
  return stringify(names, { collectionStyle: 'flow', lineWidth: 0 }).trim().replaceAll('$', '$$$$');
}
