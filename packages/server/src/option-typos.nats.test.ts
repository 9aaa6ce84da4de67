import { describeTypos } from '@antiphon/testing/internal';
import { afterAll, beforeAll } from 'vitest';
import { fastify } from 'fastify';
import { antiphonPlugin } from './fastify.js';
import { createServer, serveSubjects } from './index.js';
import { Served } from './testing/served.js';

let served: Served;

beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served[Symbol.asyncDispose]());

describeTypos({
  ServerOptions: { option: 'listen', call: (options) => createServer(served.replica(), options) },
  AntiphonPluginOptions: {
    option: 'sessionHeader',
    call: async (options) => fastify().register(antiphonPlugin, options).ready(),
  },
  ServerTls: {
    option: 'cert',
    call: (tls) => createServer(served.replica(), { tls }),
  },
  ServerLimits: {
    option: 'bodyBytes',
    call: (limits) => createServer(served.replica(), { limits }),
  },
  SubjectsOptions: { option: 'limits', call: (options) => serveSubjects(served.replica(), options) },
  SubjectsLimits: { option: 'bodyBytes', call: (limits) => serveSubjects(served.replica(), { limits }) },
});
