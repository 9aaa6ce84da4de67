export { importsOf, type AccountImports, type GuestRole } from './account-imports.js';
export type { NatsBus } from './bus/nats-bus.js';
export type { ConnectNatsOptions, NatsAccess } from './connection/connect-options.js';
export type { Denial, DenialEvent } from './connection/denials.js';
export type { NatsLogin } from './connection/login.js';
export { connectNats, NatsHandle } from './connection/nats-handle.js';
export type { NatsTls } from './connection/tls.js';
export type { ClockDifference } from './doctor/clock-difference.js';
export {
  describeServer,
  type DescribeOptions,
  type JetStreamDescription,
  type LogDescription,
  type ServerDescription,
} from './doctor/describe-server.js';
export type { Durability, DurabilityGrade } from './doctor/durability.js';
export type { JetStreamLease } from './lease/jetstream-lease.js';
export type { JetStreamLog } from './log/jetstream-log.js';
export type { LogOptions } from './log/log-options.js';
export { permissionsOf, type AccessRole, type PermissionOptions, type Permissions } from './permissions.js';
export type { ChangesStream } from './publication/changes-stream.js';
export type { JetStreamPublication } from './publication/jetstream-publication.js';
export type { KvRegistry } from './registry/kv-registry.js';
export { clusterPrefix, durableName, registryBucket, streamName } from './subjects.js';
