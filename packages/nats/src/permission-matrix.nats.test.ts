import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { permissionsOf, type AccessRole, type Permissions } from './permissions.js';
import { documentedAccess } from './testing/documented-access.js';
import { GuardedServer } from './testing/guarded-server.js';
import { deniedOf, type Attempt } from './testing/raw-client.js';

const CLUSTER = 'shop';
const ID = 'eu-1';
/** Every role, as docs/access.md has it. */
const ACCESS = documentedAccess();
const ROLES = [...ACCESS.keys()] as readonly AccessRole[];

let server: GuardedServer;
beforeAll(async () => {
  const users = ROLES.flatMap((role) => [userOf(role), userOf(role, `_INBOX.${role}`)]);
  server = await GuardedServer.start(`authorization { users: [${users.join(', ')}] }`);
});
afterAll(() => server[Symbol.asyncDispose]());

function userOf(role: AccessRole, inboxPrefix?: string): string {
  const permissions = permissionsOf(role, CLUSTER, { id: ID, ...(inboxPrefix && { inboxPrefix }) });
  const name = inboxPrefix === undefined ? role : `${role} with its inbox`;
  return `{ user: "${name}", password: p, permissions: ${JSON.stringify(permissions)} }`;
}

/** The subject of a line of the docs, in a cluster, for a replica. */
function within(pattern: string, cluster = CLUSTER, id = ID): string {
  return pattern.replaceAll('CLUSTER', cluster).replaceAll(/\bID\b|(?<=replica_)ID/g, id);
}

/** One that the pattern stands for. */
function example(pattern: string): string {
  return pattern.replaceAll('*', 'x1').replaceAll('>', 'y1.z1');
}

/** Whether NATS takes the one for the other: of a wildcard, all that it stands for. */
function covers(pattern: string, subject: string): boolean {
  const [wanted, given] = [pattern.split('.'), subject.split('.')];
  const rest = wanted.indexOf('>');
  if (rest >= 0)
    return given.length > rest && wanted.slice(0, rest).every((token, at) => fits(token, given[at]));
  return wanted.length === given.length && wanted.every((token, at) => fits(token, given[at]));
}

function fits(wanted: string, given: string | undefined): boolean {
  return wanted === given || (wanted === '*' && given !== '>');
}

/** The lines of docs/security.md that no role may cross. */
function forbidden(): readonly Attempt[] {
  const page = readFileSync(new URL('../../../docs/security.md', import.meta.url), 'utf8');
  const rows = page.split('\n').flatMap((line) => {
    const [, subjects, operations] = /^\| (`[^|]+`) +\| (pub|sub|pub, sub) +\|/.exec(line) ?? [];
    const named = [...(subjects ?? '').matchAll(/`([^`]+)`/g)].map(([, subject = '']) => subject);
    return named.flatMap((subject) => (operations ?? '').split(', ').map((mark) => ({ subject, mark })));
  });
  expect(rows.length).toBeGreaterThan(15);
  return rows.map(({ subject, mark }) =>
    mark === 'pub'
      ? { operation: 'publish', subject: example(within(subject)) }
      : { operation: 'subscribe', subject: within(subject) },
  );
}

/** What any role may do, tried for this replica, for another one, and in another cluster. */
function attempts(): readonly Attempt[] {
  const lists = [...ACCESS.values()];
  const places = [
    [CLUSTER, ID],
    [CLUSTER, 'eu-2'],
    ['other', ID],
  ] as const;
  const all = places.flatMap(([cluster, id]) => [
    ...lists
      .flatMap(({ publish }) => publish)
      .map((subject): Attempt => {
        return { operation: 'publish', subject: example(within(subject, cluster, id)) };
      }),
    ...lists
      .flatMap(({ subscribe }) => subscribe)
      .map((subject): Attempt => {
        return { operation: 'subscribe', subject: within(subject, cluster, id) };
      }),
  ]);
  return [...new Map(all.map((attempt) => [nameOf(attempt), attempt])).values()];
}

function nameOf({ operation, subject }: Attempt): string {
  return `${operation} ${subject}`;
}

function permitted(permissions: Permissions, { operation, subject }: Attempt): boolean {
  return permissions[operation].some((pattern) => covers(within(pattern), subject));
}

describe.each(ROLES)('%s', (role) => {
  const permissions = ACCESS.get(role)!;

  it('may do what the docs say, and the server denies the rest', async () => {
    const tried = attempts();
    const denied = (await deniedOf(server.port, { user: role, pass: 'p' }, tried)).map(nameOf);
    const expected = tried.filter((attempt) => !permitted(permissions, attempt)).map(nameOf);
    expect(tried.length - expected.length).toBeGreaterThan(5);
    expect([...denied].sort()).toEqual([...expected].sort());
  });

  it('is denied what nobody may do', async () => {
    const tried = forbidden();
    const login = { user: `${role} with its inbox`, pass: 'p' };
    const denied = (await deniedOf(server.port, login, tried)).map(nameOf);
    expect([...denied].sort()).toEqual(tried.map(nameOf).sort());
  });

  it('hears its own answers, and those of nobody else', async () => {
    const own = { operation: 'subscribe', subject: `_INBOX.${role}.a.>` } as const;
    const others = ['_INBOX.>', '_INBOX.*.>', '_INBOX.somebody.>', '>'].map((subject): Attempt => {
      return { operation: 'subscribe', subject };
    });
    const login = { user: `${role} with its inbox`, pass: 'p' };
    expect(await deniedOf(server.port, login, [own, ...others])).toEqual(others);
  });
});
