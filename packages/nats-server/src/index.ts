export {
  findNatsServer,
  type FindNatsServerOptions,
  type FoundNatsServer,
  type NatsServerSource,
} from './find/find-server.js';
export { PINNED_SERVER_VERSION, readServerVersion } from './find/server-version.js';
export { NatsServer, type NatsServerState } from './run/nats-server.js';
export { probeServer, type ServerInfo } from './run/server-probe.js';
export type { ServerExit } from './run/server-process.js';
export type { NatsServerOptions } from './run/server-settings.js';
