import { importsOf, type GuestRole } from '../account-imports.js';
import type { Permissions } from '../permissions.js';

/** Users by their names, with the password `p`. */
export type Users = Readonly<
  Record<string, (Permissions & { readonly allow_responses?: boolean }) | undefined>
>;

/**
 * `accounts { … }` as `antiphon init --secure` writes it: that of the replicas, and one for each
 * role that asks them.
 */
export function accountsText(
  cluster: string,
  replicas: Users,
  guests: readonly { readonly role: GuestRole; readonly users: Users }[],
): string {
  const exports = guests.flatMap(({ role }) => {
    const { services, streams } = importsOf(role, cluster);
    return [
      ...services.map(
        ({ subject, response }) =>
          `{ service: "${subject}", response: ${response}${response === 'singleton' ? ', response_threshold: "1h"' : ''} }`,
      ),
      ...streams.map((subject) => `{ stream: "${subject}" }`),
    ];
  });
  const accounts = guests.map(({ role, users }) => {
    const { services, streams } = importsOf(role, cluster);
    const imports = [
      ...services.map(({ subject }) => `{ service: { account: REPLICAS, subject: "${subject}" } }`),
      ...streams.map((subject) => `{ stream: { account: REPLICAS, subject: "${subject}" } }`),
    ];
    return `"${role}" { users: ${usersText(users)}, imports: [\n${imports.join('\n')}\n] }`;
  });
  const own = `REPLICAS { jetstream: enabled, users: ${usersText(replicas)}, exports: [\n${[...new Set(exports)].join('\n')}\n] }`;
  return `accounts {\n${[own, ...accounts].join('\n')}\nSYS {}\n}\nsystem_account: SYS`;
}

export function usersText(users: Users): string {
  const list = Object.entries(users).map(
    ([user, permissions]) =>
      `{ user: "${user}", password: p${permissions === undefined ? '' : `, permissions: ${JSON.stringify(permissions)}`} }`,
  );
  return `[\n${list.join('\n')}\n]`;
}
