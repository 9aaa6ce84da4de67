import { describeTypos } from '@antiphon/testing/internal';
import { afterAll, beforeAll } from 'vitest';
import { createServer } from './index.js';
import { Served } from './testing/served.js';

let served: Served;

beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served[Symbol.asyncDispose]());

describeTypos({
  ServerOptions: { option: 'listen', call: (options) => createServer(served.replica(), options) },
  ServerLimits: {
    option: 'bodyBytes',
    call: (limits) => createServer(served.replica(), { limits }),
  },
});
