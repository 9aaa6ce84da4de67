export { createServer, type HttpServer } from './server.js';
export { DEFAULT_SERVER_LIMITS, type ServerLimits, type ServerOptions } from './service/options.js';
export type { ServerTls } from './service/certificate.js';
export type { Endpoint } from './service/listen.js';
export { serveSubjects, type ServedSubjects } from './subjects/serve-subjects.js';
export { DEFAULT_SUBJECTS_LIMITS, type SubjectsLimits, type SubjectsOptions } from './subjects/options.js';
export type { ServerRole, ServerToken } from './service/tokens.js';
