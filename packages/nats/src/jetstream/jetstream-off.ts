import { AntiphonError } from '@antiphon/core';
import { ApiError } from './api-error.js';

/**
 * There is no JetStream, on this server or for this account. It goes away once somebody enables it,
 * so it may be retried.
 */
export class JetStreamOffError extends AntiphonError {
  constructor(failure: unknown, shownServers: string) {
    const forAccount = failure instanceof ApiError && failure.offForAccount;
    const message = forAccount
      ? `JetStream is off for this account at ${shownServers}. Enable it in the configuration of the account (\`jetstream: enabled\`), or use another one.`
      : `JetStream is off at ${shownServers}. Start nats-server with -js, or with a \`jetstream\` block in its configuration.`;
    super('LOG_UNAVAILABLE', message, { cause: failure });
  }
}

/** Nobody listens on the API's subjects, or JetStream says it itself. */
export function saysOff(failure: unknown): boolean {
  return failure === 'no-responders' || (failure instanceof ApiError && failure.off);
}
