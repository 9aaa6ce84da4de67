import { permissionsOf } from './permissions.js';

/**
 * The roles of people and applications: those whose users need no subject that a stream of the
 * cluster takes, and so can live in another account than its replicas.
 */
export const GUEST_ROLES = ['reader', 'client', 'client-reader'] as const;

export type GuestRole = (typeof GUEST_ROLES)[number];

/** As in the `exports` and `imports` of two accounts of nats-server. */
export interface AccountImports {
  /** Subjects of requests. `stream`: several messages may answer one. */
  readonly services: readonly { readonly subject: string; readonly response: 'singleton' | 'stream' }[];
  /** Subjects that are only heard. */
  readonly streams: readonly string[];
}

/** Entries of the log come as answers to a request for many. */
const OF_MANY_ANSWERS = '$JS.API.CONSUMER.MSG.NEXT.';

/**
 * What the account of a role's users imports from the account of the replicas: exactly what
 * `permissionsOf` lets them publish and hear. Whoever asks names the subject of the answer, and the
 * server publishes JetStream's answers with its own rights: within one account also into the log
 * and the registry. Across accounts it delivers them in the account of whoever asked, where no
 * stream listens (docs/decisions/0115).
 */
export function importsOf(role: GuestRole, cluster: string): AccountImports {
  const inboxPrefix = '_INBOX';
  const { publish, subscribe } = permissionsOf(role, cluster, { inboxPrefix });
  return {
    services: publish.map((subject) => ({
      subject,
      response: subject.startsWith(OF_MANY_ANSWERS) ? 'stream' : 'singleton',
    })),
    streams: subscribe.filter((subject) => !subject.startsWith(inboxPrefix)),
  };
}
