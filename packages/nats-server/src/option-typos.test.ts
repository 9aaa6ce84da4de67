import { describeTypos } from '@antiphon/testing/internal';
import { findNatsServer, NatsServer } from './index.js';

describeTypos({
  NatsServerOptions: {
    option: 'maxPayload',
    given: { storeDir: 'nats' },
    call: (options) => NatsServer.start(options),
  },
  FindNatsServerOptions: { option: 'download', call: (options) => findNatsServer(options) },
});
