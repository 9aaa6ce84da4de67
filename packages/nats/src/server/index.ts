export {
  findNatsServer,
  type FindNatsServerOptions,
  type FoundNatsServer,
  type NatsServerSource,
} from './find-server.js';
export { NatsServer, type NatsServerState } from './nats-server.js';
export { probeServer, type ServerInfo } from './server-probe.js';
export type { ServerExit } from './server-process.js';
export type { NatsServerOptions } from './server-settings.js';
export {
  isAtLeast,
  OLDEST_SERVER_VERSION,
  parseServerVersion,
  PINNED_SERVER_VERSION,
  readServerVersion,
} from './server-version.js';
