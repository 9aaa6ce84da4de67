import { AntiphonError, type ErrorCode, type ErrorContext, sentence } from '@antiphon/core';

export interface MessageContext extends ErrorContext {
  readonly actor: string;
  readonly message?: string;
  /** False: the message was never handled and never will be. */
  readonly started: boolean;
}

function messageError(
  code: ErrorCode,
  context: MessageContext,
  text: string,
  cause?: unknown,
): AntiphonError {
  return new AntiphonError(code, `${context.actor} ${text}`, { context, cause });
}

export function mailboxFull(context: MessageContext): AntiphonError {
  return messageError(
    'OVERLOADED',
    context,
    `has no room for ${context.message} now. Slow down and send it again.`,
  );
}

export function unknownMessage(context: MessageContext): AntiphonError {
  return messageError(
    'MALFORMED_MESSAGE',
    context,
    `does not understand ${context.message}. See its protocol.`,
  );
}

export function askTimedOut(context: MessageContext, timeoutMs: number): AntiphonError {
  const outcome = context.started
    ? 'It was being handled. Find out what became of it before you send it again.'
    : 'It will not be handled, and can be sent again.';
  return messageError(
    'TIMEOUT',
    context,
    `did not answer ${context.message} within ${timeoutMs} ms. ${outcome}`,
  );
}

export function askAborted(context: MessageContext, cause: unknown): AntiphonError {
  return messageError(
    'ABORTED',
    context,
    `was not waited for: the asker of ${context.message} gave up.`,
    cause,
  );
}

export function actorStopped(context: MessageContext): AntiphonError {
  return messageError(
    'ACTOR_STOPPED',
    context,
    `stopped before it answered ${context.message}. Ask it when it runs.`,
  );
}

/**
 * For the messages that a crash took with it. What crashed an actor once may do so again, hence not
 * retriable.
 */
export function actorCrashed(context: MessageContext, cause: unknown): AntiphonError {
  const text = `${context.actor} crashed while it handled ${context.message}: ${sentence(messageOf(cause))}`;
  return new AntiphonError('ACTOR_STOPPED', text, { context, cause, retriable: false });
}

export function unanswered(context: MessageContext): AntiphonError {
  return messageError(
    'INTERNAL',
    context,
    `took ${context.message} but neither answered nor deferred it. It must do one of them.`,
  );
}

/** A child failed beyond what its supervision allows: the crash of its parent. */
export function escalated(child: string, cause: unknown): AntiphonError {
  const text = `${child} failed for good: ${sentence(messageOf(cause))}`;
  return new AntiphonError('ACTOR_STOPPED', text, { cause, retriable: false, context: { actor: child } });
}

export function overLimit(actor: string, what: string, limit: number): AntiphonError {
  const text = `${actor} already has ${limit} ${what}. End some first.`;
  return new AntiphonError('OVERLOADED', text, { context: { actor, limit } });
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
