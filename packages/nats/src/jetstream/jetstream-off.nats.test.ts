import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { describeServer } from '../doctor/describe-server.js';
import { RawServer } from '../testing/raw-server.js';

const ACCOUNTS =
  'jetstream { store_dir: "@DIR@/js" }\n' +
  'accounts { A { users: [{user: a, password: p}], jetstream: enabled }, B { users: [{user: b, password: p}] } }';

let server: RawServer;
beforeAll(async () => {
  server = await RawServer.start('# No JetStream.');
});
afterAll(() => server.stop());

async function expectOff(nats: NatsHandle, message: RegExp): Promise<void> {
  const refusal = { code: 'LOG_UNAVAILABLE', retriable: true, message: expect.stringMatching(message) };
  const startMs = performance.now();
  await Promise.all([
    expect(nats.assertJetStream()).rejects.toMatchObject(refusal),
    expect(nats.log('shop').open({ create: true })).rejects.toMatchObject(refusal),
    expect(nats.registry('shop').open()).rejects.toMatchObject(refusal),
  ]);
  expect(performance.now() - startMs).toBeLessThan(2000);
  const { jetstream, warnings } = await describeServer(nats, { cluster: 'shop' });
  expect(jetstream).toBeUndefined();
  expect(warnings.join()).toMatch(/JetStream is off/);
}

describe('a server without JetStream', () => {
  it('is said to be one within two seconds, with what to do', async () => {
    await using nats = await connectNats({ servers: server.url });
    await expectOff(nats, /^JetStream is off at nats:.* Start nats-server with -js/);
  });

  it('comes back into use once JetStream is on, and an account without it is told apart', async () => {
    await using nats = await connectNats({ servers: server.url });
    await server.run('jetstream { store_dir: "@DIR@/js" }');
    const isOn = (): Promise<boolean> =>
      nats.assertJetStream().then(
        () => true,
        () => false,
      );
    await eventually('JetStream is on', isOn, 5000);
    await server.run(ACCOUNTS);
    await using without = await connectNats({ servers: server.url.replace('//', '//b:p@') });
    await expectOff(without, /^JetStream is off for this account at .* Enable it/);
    await using enabled = await connectNats({ servers: server.url.replace('//', '//a:p@') });
    await enabled.assertJetStream();
  });

  it('is no finding when the server does not answer at all', async () => {
    await using nats = await connectNats({ servers: server.url.replace('//', '//a:p@') });
    server.signal('SIGSTOP');
    await nats.assertJetStream();
    server.signal('SIGCONT');
  });
});
