export type {
  ActorRef,
  ActorStats,
  Behaviour,
  Context,
  Death,
  Ending,
  EndReason,
  Handler,
  Handlers,
  Received,
  SpawnOptions,
  Watchable,
} from './behaviour.js';
export { NO_REPLY, type NoReply } from './no-reply.js';
export { DEFAULT_LANE_CAPACITY, type LaneOptions, type MailboxOptions } from './mailbox.js';
export type { AskOptions, Message, MessageType, Protocol, Ref, ReplyOf, RequestOf } from './protocol.js';
export {
  DEFAULT_SUPERVISION,
  backoffMs,
  type Backoff,
  type RestartPolicy,
  type Supervision,
} from './supervision.js';
export type { ActorEvent } from './kernel.js';
export { ActorSystem, type ActorSystemOptions } from './system.js';
export { msgpackCodec, type Codec } from './remote/codec.js';
export {
  exposeActor,
  type ExposeOptions,
  type Exposure,
  type ExposureStats,
  type RemoteCommands,
  type Validator,
} from './remote/exposed-actor.js';
export { remoteRef, type RemoteRefOptions } from './remote/remote-ref.js';
