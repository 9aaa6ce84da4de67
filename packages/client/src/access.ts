import type { NatsAccess, NatsTls } from '@antiphon/nats';
import { addressesLogIn } from '@antiphon/nats/internal';

/** How to log in at NATS. Without the servers. */
export type Access = Omit<NatsAccess, 'servers'>;

/** The same, as it is put together: what is undefined is not said. */
export type AccessParts = {
  readonly [K in keyof Omit<Access, 'tls'>]?: Access[K] | undefined;
} & { readonly tls?: { readonly [K in keyof NatsTls]?: NatsTls[K] | undefined } | undefined };

/** Without what is not said: NATS tells an option that is there from one that is not. */
export function accessOf({ tls, ...parts }: AccessParts): Access {
  const said = tls === undefined ? {} : withoutUndefined(tls);
  return { ...withoutUndefined(parts), ...(Object.keys(said).length > 0 && { tls: said }) };
}

/**
 * ANTIPHON_USER, ANTIPHON_PASSWORD, ANTIPHON_TOKEN and so on: docs/access.md. Empty ones do not
 * count.
 */
export function accessFromEnvironment(env: NodeJS.ProcessEnv): Access {
  const value = (name: string): string | undefined => env[`ANTIPHON_${name}`] || undefined;
  return accessOf({
    user: value('USER'),
    password: value('PASSWORD'),
    token: value('TOKEN'),
    nkey: value('NKEY'),
    creds: value('CREDS'),
    inboxPrefix: value('INBOX_PREFIX'),
    tls: { ca: value('TLS_CA'), cert: value('TLS_CERT'), key: value('TLS_KEY') },
  });
}

/**
 * How to log in at these servers. What was given explicitly comes first; an address that holds a
 * login comes before every other source, and contradicts an explicit login, which the connection
 * reports.
 */
export function accessFor(servers: readonly string[], given: Access, others: readonly Access[]): Access {
  const all = firstAccess([given, ...others]);
  if (!addressesLogIn(servers)) return all;
  const { tls, inboxPrefix } = all;
  return { ...given, ...accessOf({ tls, inboxPrefix }) };
}

const LOGIN = ['user', 'password', 'token', 'nkey', 'creds'] as const;

function logsIn(access: Access): boolean {
  return LOGIN.some((name) => access[name] !== undefined);
}

/**
 * The first that says how to log in counts as a whole, for a password of one source does not go
 * with a user name of another one; likewise for TLS, and for the inbox.
 */
function firstAccess(sources: readonly Access[]): Access {
  const login = sources.find(logsIn) ?? {};
  const { user, password, token, nkey, creds } = login;
  const tls = sources.find((source) => source.tls !== undefined)?.tls;
  const inboxPrefix = sources.find((source) => source.inboxPrefix !== undefined)?.inboxPrefix;
  return accessOf({ user, password, token, nkey, creds, tls, inboxPrefix });
}

function withoutUndefined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
