export * from './behaviour.js';
export * from './no-reply.js';
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
export * from './remote/exposed-actor.js';
export * from './remote/remote-ref.js';
