/** Returned by a handler whose return value is not the answer. */
export const NO_REPLY: unique symbol = Symbol('antiphon.no-reply');
export type NoReply = typeof NO_REPLY;
