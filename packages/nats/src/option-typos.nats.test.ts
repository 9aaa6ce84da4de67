import { describeTypos } from '@antiphon/testing/internal';
import { afterAll, beforeAll } from 'vitest';
import { connectNats, describeServer, permissionsOf, type NatsHandle } from './index.js';
import { Fixture } from './testing/fixture.js';

let fixture: Fixture;
let nats: NatsHandle;

beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
});
afterAll(() => fixture.stop());

const servers = 'nats://127.0.0.1:4222';

describeTypos({
  'ConnectNatsOptions, NatsAccess': {
    option: 'name',
    given: { servers },
    call: (options) => connectNats(options),
  },
  NatsLogin: { option: 'token', given: { servers }, call: (options) => connectNats(options) },
  NatsTls: { option: 'handshakeFirst', call: (tls) => connectNats({ servers, tls }) },
  LogOptions: { option: 'replicas', call: (options) => nats.log('shop', options) },
  'the options of registry()': { option: 'replicas', call: (options) => nats.registry('shop', options) },
  DescribeOptions: { option: 'monitorUrl', call: (options) => describeServer(nats, options) },
  PermissionOptions: {
    option: 'inboxPrefix',
    call: (options) => permissionsOf('reader', 'shop', options),
  },
});
