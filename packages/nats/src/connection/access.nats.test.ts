import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { nuid } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCertificates, type Certificates } from '../testing/certificates.js';
import { eventually } from '@antiphon/testing';
import { GuardedServer } from '../testing/guarded-server.js';
import { createOperator, createUserKey } from '../testing/operator.js';
import { permissionsOf, type Permissions } from '../permissions.js';
import type { ConnectNatsOptions } from './connect-options.js';
import type { DenialEvent } from './denials.js';
import { connectNats } from './nats-handle.js';

let dir: string;
let certificates: Certificates;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-access-'));
  certificates = createCertificates(dir);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The log in the account that the login gives: JetStream answers, and so do others. */
async function works(options: ConnectNatsOptions): Promise<void> {
  await using nats = await connectNats(options);
  const log = nats.log('shop');
  await log.open({ create: true });
  expect((await log.identity()).lastSeq).toBeGreaterThan(0);
  expect(inspect(nats, { depth: null, showHidden: false })).not.toContain('hunter2');
}

const refused = { code: 'ACCESS_DENIED', retriable: false, message: /refuses the login/ };

describe('a login', () => {
  it('is a user name and a password, as options or in the address', async () => {
    await using server = await GuardedServer.start('authorization { user: me, password: "hunter2 @/" }');
    await works({ servers: server.url(), user: 'me', password: 'hunter2 @/' });
    await works({ servers: server.url(`me:${encodeURIComponent('hunter2 @/')}`) });
    const failing = connectNats({ servers: server.url('me:hunter3') });
    await expect(failing).rejects.toMatchObject(refused);
    await expect(connectNats({ servers: server.url() })).rejects.toMatchObject(refused);
    const error: unknown = await failing.catch((thrown: unknown) => thrown);
    expect(inspect(error, { depth: null, showHidden: true })).not.toMatch(/hunter/);
  });

  it('is a token', async () => {
    await using server = await GuardedServer.start('authorization { token: hunter2 }');
    await works({ servers: server.url(), token: 'hunter2' });
    await works({ servers: server.url('hunter2') });
    await expect(connectNats({ servers: server.url(), token: 'no' })).rejects.toMatchObject(refused);
  });

  it('is an nkey: its seed, or a file that holds it', async () => {
    const key = createUserKey();
    await using server = await GuardedServer.start(`authorization { users: [{ nkey: ${key.publicKey} }] }`);
    await works({ servers: server.url(), nkey: key.seed });
    await works({ servers: server.url(), nkey: server.file('user.nk', `# the user's\n${key.seed}\n`) });
    await expect(connectNats({ servers: server.url(), nkey: createUserKey().seed })).rejects.toMatchObject(
      refused,
    );
  });

  it('is a .creds file, or its content', async () => {
    const operator = createOperator();
    await using server = await GuardedServer.start(operator.serverConfig);
    const creds = operator.credentials();
    await works({ servers: server.url(), creds });
    await works({ servers: server.url(), creds: server.file('user.creds', creds) });
    await works({
      servers: server.url(),
      creds: server.file('windows.creds', creds.replaceAll('\n', '\r\n')),
    });
    await expect(
      connectNats({ servers: server.url(), creds: createOperator().credentials() }),
    ).rejects.toMatchObject(refused);
  });

  it('takes a file anew at every connection', async () => {
    const [old, renewed] = [createUserKey(), createUserKey()];
    const users = (key: string): string => `authorization { users: [{ nkey: ${key} }] }`;
    await using server = await GuardedServer.start(users(old.publicKey));
    const file = server.file('user.nk', old.seed);
    await using nats = await connectNats({ servers: server.url(), nkey: file });
    const events: DenialEvent[] = [];
    nats.denials.on((event) => events.push(event));
    await server.reload(users(renewed.publicKey));
    await eventually('the login to be refused', () => nats.denials.isDenied('login', ''));
    await expect(nats.rtt()).rejects.toMatchObject({ code: 'ACCESS_DENIED', message: /refuses the login/ });
    server.file('user.nk', renewed.seed);
    await eventually('the new login', () => nats.status === 'connected' && !nats.denials.any, 5000);
    expect(await nats.rtt()).toBeLessThan(1000);
    expect(events.map(({ type, denial }) => `${type} ${denial.operation}`)).toEqual([
      'begun login',
      'over login',
    ]);
  });

  it.each([
    [{ user: 'me', token: 't' }, /several ways to log in: `user`, `token`/],
    [{ password: 'hunter2' }, /`password` without a `user`/],
    [{ user: '' }, /`user` is empty/],
    [{ nkey: 'SUNOSUCHKEY' }, /file of `nkey` does not exist/],
    [{ nkey: `SU${'A'.repeat(56)}` }, /seed of `nkey` is not valid/],
    [{ creds: '/no/such/file.creds' }, /file of `creds` \/no\/such\/file\.creds does not exist/],
    [{ creds: '-----BEGIN NATS USER JWT-----\nhunter2\n' }, /not the content of a credentials file/],
    [{ tls: { cert: '/no/such/file' } }, /`tls.cert` and `tls.key` belong together/],
    [{ tls: { ca: '/no/such/file' } }, /file of `tls.ca` \/no\/such\/file does not exist/],
    [{ inboxPrefix: 'a.>' }, /`inboxPrefix` is not the beginning/],
  ])('says what is wrong with %j', async (options, message) => {
    const connecting = connectNats({ servers: 'nats://127.0.0.1:1', ...options });
    await expect(connecting).rejects.toMatchObject({ code: 'BAD_OPTION', message });
    await expect(connecting).rejects.not.toThrow(/hunter2/);
  });
});

describe('TLS', () => {
  const tls = (more = ''): string =>
    `tls { cert_file: ${JSON.stringify(certificates.serverCert)}, key_file: ${JSON.stringify(certificates.serverKey)} ${more} }`;

  it('trusts the CA that it is given, as a file or as text, and no other', async () => {
    await using server = await GuardedServer.start(tls());
    const { ca } = certificates;
    await works({ servers: server.url(), tls: { ca } });
    await works({ servers: server.url('', 'tls'), tls: { ca: readFileSync(ca, 'utf8') } });
    await expect(connectNats({ servers: server.url('', 'tls') })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: /Name the CA in `tls.ca`/,
    });
    await expect(
      connectNats({ servers: `tls://localhost:${server.port}`, tls: { ca } }),
    ).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: /name or address that the server's certificate is for/,
    });
  });

  it('shows a certificate of its own to a server that asks for one', async () => {
    await using server = await GuardedServer.start(
      tls(`, ca_file: ${JSON.stringify(certificates.ca)}, verify: true`),
    );
    const { ca, clientCert: cert, clientKey: key } = certificates;
    await works({ servers: server.url(), tls: { ca, cert, key } });
    const text = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
    await works({ servers: server.url(), tls: { ca, ...text } });
    await using nats = await connectNats({ servers: server.url(), tls: { ca, ...text } });
    expect(inspect(nats, { depth: null })).not.toContain('PRIVATE KEY');
    await expect(connectNats({ servers: server.url(), tls: { ca } })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: /wants a certificate of this client.*`tls.cert` and `tls.key`/,
    });
    const stranger = createCertificates(mkdtempSync(join(dir, 'stranger-')));
    const other = { ca, cert: stranger.clientCert, key: stranger.clientKey };
    await expect(connectNats({ servers: server.url(), tls: other })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: /does not accept this client's certificate.*`tls.cert`/,
    });
  });

  it('is insisted on when the address says so', async () => {
    await using server = await GuardedServer.start('');
    await expect(connectNats({ servers: server.url('me:hunter2', 'tls') })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: /offers no TLS/,
    });
  });
});

describe('a permission', () => {
  const users = (permissions: string): string =>
    `authorization { users: [{ user: u, password: p, permissions: { ${permissions} } }] }`;
  const inbox = 'subscribe: ["_INBOX.>"]';

  it('that is missing ends the request at once, and names the subject', async () => {
    await using server = await GuardedServer.start(users(`publish: ["x"], ${inbox}`));
    await using nats = await connectNats({ servers: server.url('u:p') });
    const startMs = performance.now();
    await expect(nats.log('shop').open({ create: true })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      retriable: false,
      message: /publish to "\$JS\.API\.STREAM\.INFO\.ANTIPHON_shop".*docs\/access\.md/,
      context: { operation: 'publish', subject: '$JS.API.STREAM.INFO.ANTIPHON_shop' },
    });
    await expect(
      nats.bus().request('antiphon.shop.replica.a.ping', new Uint8Array(), { timeoutMs: 9000 }),
    ).rejects.toMatchObject({ code: 'ACCESS_DENIED' });
    await expect(nats.registry('shop').get('cluster')).rejects.toMatchObject({ code: 'ACCESS_DENIED' });
    expect(performance.now() - startMs).toBeLessThan(3000);
  });

  it('to hear answers is named as well', async () => {
    await using server = await GuardedServer.start(users('publish: [">"], subscribe: ["_INBOX_me.>"]'));
    await using deaf = await connectNats({ servers: server.url('u:p') });
    await expect(deaf.registry('shop').get('cluster')).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: /subscribe to "_INBOX\.>".*inboxPrefix/,
    });
    await works({ servers: server.url('u:p'), inboxPrefix: '_INBOX_me' });
  });

  it('stands until it is granted, is told once, and then what waited resumes automatically', async () => {
    const all = users('publish: [">"], subscribe: [">"]');
    await using server = await GuardedServer.start(all);
    const problems: string[] = [];
    await using nats = await connectNats({
      servers: server.url('u:p'),
      onProblem: ({ message }) => problems.push(message),
    });
    const events: DenialEvent[] = [];
    nats.denials.on((event) => events.push(event));
    nats.denials.bePatient();
    const log = nats.log('shop');
    await log.open({ create: true });
    await server.reload(users(`publish: ["other"], subscribe: ["_INBOX.>"]`));
    const heard: string[] = [];
    nats.bus().subscribe('news', ({ data }) => heard.push(new TextDecoder().decode(data)));
    const append = (): Promise<string> =>
      new Promise((resolve) => {
        log.append({ origin: 'eu-1', id: `a${performance.now()}`, data: new Uint8Array([1]) }, (result) =>
          resolve(result.type === 'stored' ? 'stored' : `${result.type} ${result.error.code}`),
        );
      });
    for (let tries = 0; tries < 5; tries += 1) expect(await append()).toBe('unknown ACCESS_DENIED');
    await eventually('the subscription to be denied', () => nats.denials.isDenied('subscribe', 'news'));
    expect(nats.denials.isDenied('publish', 'antiphon.shop.log.eu-1')).toBe(true);
    await server.reload(all);
    expect(await append()).toBe('stored');
    await eventually('everything to be permitted', () => !nats.denials.any, 5000);
    nats.bus().publish('news', new TextEncoder().encode('hello'));
    await eventually('the subscription to work again', () => heard.includes('hello'));
    const told = events.map(({ type, denial }) => `${type} ${denial.operation} ${denial.subject}`).sort();
    expect(told.filter((text) => !text.includes('$JS.API'))).toEqual([
      'begun publish antiphon.shop.log.eu-1',
      'begun subscribe news',
      'over publish antiphon.shop.log.eu-1',
      'over subscribe news',
    ]);
    expect(problems).toEqual([]);
  });

  it('is told once for all the names that it covers, and what is tried again ends it', async () => {
    const all = permissionsOf('creator', 'shop', { id: 'a' });
    const usersOf = ({ publish, subscribe }: Permissions): string =>
      users(`publish: ${JSON.stringify(publish)}, subscribe: ${JSON.stringify(subscribe)}`);
    await using server = await GuardedServer.start(usersOf(all));
    await using nats = await connectNats({ servers: server.url('u:p') });
    const events: DenialEvent[] = [];
    nats.denials.on((event) => events.push(event));
    nats.denials.bePatient();
    await nats.log('shop').open({ create: true });
    const lost = {
      publish: [
        '$JS.API.CONSUMER.CREATE.ANTIPHON_shop.*',
        'antiphon.shop.replica.*.*',
        'antiphon.shop.ack.>',
      ],
      subscribe: ['antiphon.shop.replica.a.*'],
    };
    await server.reload(
      usersOf({
        publish: all.publish.filter((subject) => !lost.publish.includes(subject)),
        subscribe: all.subscribe.filter((subject) => !lost.subscribe.includes(subject)),
      }),
    );
    const questions = Array.from({ length: 19 }, (_, index) => `question${index}`);
    for (const question of questions)
      nats.bus().subscribe(`antiphon.shop.replica.a.${question}`, () => undefined);
    const make = (name: string): Promise<unknown> =>
      nats.api.createConsumer('ANTIPHON_shop', name, {
        ...({ ack_policy: 'none', deliver_policy: 'new' } as unknown as object),
        inactive_threshold: 5_000_000_000,
      });
    const ask = (id: string, question: string): Promise<unknown> =>
      nats.bus().request(`antiphon.shop.replica.${id}.${question}`, new Uint8Array(), { timeoutMs: 5000 });
    for (let tries = 0; tries < 80; tries += 1) {
      await expect(make(`clock_${nuid.next()}`)).rejects.toMatchObject({ code: 'ACCESS_DENIED' });
      await expect(ask(`b${tries}`, 'ping')).rejects.toMatchObject({ code: 'ACCESS_DENIED' });
      nats.bus().publish(`antiphon.shop.ack.b${tries}.${nuid.next()}`, new Uint8Array());
    }
    await expect(make(`reader_${nuid.next()}`)).rejects.toMatchObject({
      message: /publish to "\$JS\.API\.CONSUMER\.CREATE\.ANTIPHON_shop\.\*"/,
    });
    const names = [
      ...lost.publish.map((subject) => `publish ${subject}`),
      ...lost.subscribe.map((subject) => `subscribe ${subject}`),
    ].sort();
    const standing = (): string[] =>
      nats.denials.all.map(({ operation, subject }) => `${operation} ${subject}`).sort();
    await eventually('all of them to be denied', () => standing().length >= names.length, 5000);
    expect(standing()).toEqual(names);

    await server.reload(usersOf(all));
    await make(`clock_${nuid.next()}`);
    await make(`reader_${nuid.next()}`);
    await expect(ask('c', 'ping')).rejects.toMatchObject({ code: 'NO_ACTOR' });
    nats.bus().publish(`antiphon.shop.ack.c.${nuid.next()}`, new Uint8Array());
    await eventually('everything to be permitted', () => !nats.denials.any, 8000);
    expect(events.map(({ type, denial }) => `${type} ${denial.operation} ${denial.subject}`).sort()).toEqual(
      [...names.map((name) => `begun ${name}`), ...names.map((name) => `over ${name}`)].sort(),
    );
  });
});
