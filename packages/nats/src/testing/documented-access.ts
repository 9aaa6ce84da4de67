import { readFileSync } from 'node:fs';
import type { Permissions } from '../permissions.js';

type Lists = { -readonly [K in keyof Permissions]: string[] };

/**
 * The table of docs/access.md, read back: by role, in a cluster called CLUSTER, for a replica
 * called ID.
 */
export function documentedAccess(): ReadonlyMap<string, Permissions> {
  const page = readFileSync(new URL('../../../../docs/access.md', import.meta.url), 'utf8');
  const rows = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const header = rows.find((cells) => cells[1] === 'subject' && cells.includes('creator')) ?? [];
  const roles = header.slice(2, header.indexOf('what for'));
  const found = new Map(roles.map((role): [string, Lists] => [role, { publish: [], subscribe: [] }]));
  for (const cells of rows) {
    const subject = /^`([^`]+)`$/.exec(cells[1] ?? '')?.[1];
    if (subject === undefined || cells.length !== header.length) continue;
    roles.forEach((role, index) => {
      const mark = cells[index + 2];
      if (mark === 'pub') found.get(role)?.publish.push(subject);
      else if (mark === 'sub') found.get(role)?.subscribe.push(subject);
      else if (mark !== '') throw new Error(`docs/access.md: ${subject} has the mark ${mark}`);
    });
  }
  return found;
}
