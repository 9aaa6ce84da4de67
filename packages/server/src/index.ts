export { createServer, type HttpServer } from './server.js';
export { DEFAULT_SERVER_LIMITS, type ServerLimits, type ServerOptions } from './service/options.js';
export type { Endpoint } from './service/listen.js';
export type { ServerRole, ServerToken } from './service/tokens.js';
