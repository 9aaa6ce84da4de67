import { eventually } from '@antiphon/testing';
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GUEST_ROLES, type GuestRole } from './account-imports.js';
import { connectNats, type NatsHandle } from './connection/nats-handle.js';
import { permissionsOf, type AccessRole } from './permissions.js';
import { leaseStream, leaseSubject, logSubject, registryBucket, streamName } from './subjects.js';
import { accountsText, usersText, type Users } from './testing/accounts.js';
import { GuardedServer } from './testing/guarded-server.js';

const CLUSTER = 'shop';
const ID = 'eu-1';
const OTHERS = ['creator', 'replica', 'admin'] as const satisfies readonly AccessRole[];
const [KV, CHANGES] = [registryBucket(CLUSTER), 'ANTIPHON-CHANGES_shop'];
const READER = 'atk';
const STREAMS = [streamName(CLUSTER), `KV_${KV}`, leaseStream(CLUSTER), CHANGES];
/** What is stored somewhere when somebody publishes it. */
const STORED = [
  ...[ID, 'eu-2', '_log', '_epoch', '_insync', '_barrier'].map((origin) =>
    origin === '_log' ? `antiphon.${CLUSTER}.log._log` : logSubject(CLUSTER, origin),
  ),
  ...['cluster', 'in-sync', 'member.eu-1', 'subscription.mailer', `published.${CHANGES}`].map(
    (key) => `$KV.${KV}.${key}`,
  ),
  leaseSubject(CLUSTER),
  'shop.orders.insert',
];

function usersOf(roles: readonly AccessRole[]): Users {
  return Object.fromEntries(
    roles.map((role) => [role, permissionsOf(role, CLUSTER, { id: ID, inboxPrefix: `_INBOX.${role}` })]),
  );
}

/** A server with what a cluster has on it: its streams, and a replica that answers. */
class Attacked implements AsyncDisposable {
  private constructor(
    private readonly server: GuardedServer,
    private readonly owner: NatsConnection,
    private readonly replica: NatsHandle,
  ) {}

  static async start(access: string): Promise<Attacked> {
    const server = await GuardedServer.start(access);
    const owner = await connect({ servers: server.url(), user: 'owner', pass: 'p' });
    const manager = await owner.jetstreamManager();
    const subjects = [[`antiphon.${CLUSTER}.log.>`], [`$KV.${KV}.>`], [leaseSubject(CLUSTER)], ['shop.*.*']];
    for (const [at, name] of STREAMS.entries()) await manager.streams.add({ name, subjects: subjects[at]! });
    for (let n = 0; n < 50; n += 1) await owner.jetstream().publish(logSubject(CLUSTER, ID), `entry ${n}`);
    const config = { durable_name: READER, ack_policy: 'none', deliver_policy: 'all' };
    const body = JSON.stringify({ stream_name: streamName(CLUSTER), config });
    await owner.request(`$JS.API.CONSUMER.CREATE.${streamName(CLUSTER)}.${READER}`, body);
    const login = { user: 'replica', password: 'p', inboxPrefix: '_INBOX.replica' };
    const replica = await connectNats({ servers: server.url(), ...login });
    const subject = `antiphon.${CLUSTER}.replica.${ID}.*`;
    replica.bus().subscribe(subject, ({ respond }) => respond?.(new TextEncoder().encode('an answer')));
    await replica.connection.flush();
    return new Attacked(server, owner, replica);
  }

  async as(role: string): Promise<NatsConnection> {
    const inboxPrefix = `_INBOX.${role}`;
    return connect({ servers: this.server.url(), user: role, pass: 'p', inboxPrefix });
  }

  /** How many messages each stream has ever stored. */
  async stored(): Promise<readonly number[]> {
    const manager = await this.owner.jetstreamManager();
    const infos = await Promise.all(STREAMS.map((name) => manager.streams.info(name)));
    return infos.map(({ state }) => state.last_seq);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.replica.close();
    await this.owner.close();
    await this.server[Symbol.asyncDispose]();
  }
}

/** What a role may ask for that is answered: JetStream, and a replica. */
function requestsOf(role: AccessRole): readonly string[] {
  return permissionsOf(role, CLUSTER, { id: ID })
    .publish.filter((subject) => /^\$JS\.API\.(?!STREAM\.CREATE|CONSUMER\.DELETE)|\.replica\./.test(subject))
    .map((subject) => subject.replace('replica.*.*', `replica.${ID}.status`))
    .map((subject) => subject.replace('.replica.*', `.replica.${ID}`).replace('*', READER));
}

/**
 * Each request with each subject for its answer, and once more with an inbox: then all are
 * answered.
 */
async function attack(connection: NatsConnection, role: AccessRole): Promise<void> {
  const next = JSON.stringify({ batch: 2, no_wait: true });
  const bodyOf = (subject: string): string => (subject.includes('MSG.NEXT') ? next : '{"seq":1}');
  for (const subject of requestsOf(role))
    for (const reply of STORED) connection.publish(subject, bodyOf(subject), { reply });
  // Entries come under their own subjects, so each request has an inbox of its own.
  for (const subject of requestsOf(role))
    await connection.request(subject, bodyOf(subject), { noMux: true, timeout: 10_000 });
}

describe('in accounts as `init --secure` writes them', () => {
  let attacked: Attacked;
  beforeAll(async () => {
    const guests = GUEST_ROLES.map((role) => ({ role, users: usersOf([role]) }));
    const access = accountsText(CLUSTER, { owner: undefined, ...usersOf(OTHERS) }, guests);
    attacked = await Attacked.start(access);
  });
  afterAll(() => attacked[Symbol.asyncDispose]());

  it.each(GUEST_ROLES)(
    'a %s is answered, and stores nothing by the subjects of its answers',
    async (role) => {
      const connection = await attacked.as(role);
      const before = await attacked.stored();
      expect(requestsOf(role).length).toBeGreaterThan(10);
      await attack(connection, role);
      expect(await attacked.stored()).toEqual(before);
      await connection.close();
    },
  );

  it('what a consumer of theirs delivers comes into neither the log nor the registry, but to the lease', async () => {
    const connection = await attacked.as('client-reader');
    const before = await attacked.stored();
    const stream = streamName(CLUSTER);
    const others = STORED.filter((subject) => subject !== leaseSubject(CLUSTER));
    for (const [at, deliver] of [...others, leaseSubject(CLUSTER)].entries()) {
      const config = { durable_name: `thief${at}`, deliver_subject: deliver, deliver_policy: 'all' };
      const body = JSON.stringify({ stream_name: stream, config: { ...config, ack_policy: 'none' } });
      await connection.request(`$JS.API.CONSUMER.CREATE.${stream}.thief${at}`, body);
    }
    await eventually('the lease has all entries', async () => {
      const stored = await attacked.stored();
      return stored[2]! - before[2]! >= stored[0]!;
    });
    expect((await attacked.stored()).map((count, at) => count > before[at]!)).toEqual([
      false,
      false,
      true,
      false,
    ]);
    await connection.close();
  });

  it.each(OTHERS)('a %s stores junk, as docs/security.md says', async (role) => {
    const connection = await attacked.as(role);
    const before = await attacked.stored();
    await attack(connection, role);
    const after = await attacked.stored();
    expect(after.map((count, at) => count > before[at]!)).toEqual([true, true, true, true]);
    await connection.close();
  });
});

describe('in one account', () => {
  it.each(GUEST_ROLES)('a %s stores junk, as docs/access.md says', async (role: GuestRole) => {
    const users = { owner: undefined, ...usersOf(['replica', role]) };
    await using attacked = await Attacked.start(`authorization { users: ${usersText(users)} }`);
    const connection = await attacked.as(role);
    const before = await attacked.stored();
    await attack(connection, role);
    const after = await attacked.stored();
    expect(after.map((count, at) => count > before[at]!)).toEqual([true, true, true, true]);
    await connection.close();
  });
});
