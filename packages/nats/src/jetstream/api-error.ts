import { AntiphonError } from '@antiphon/core';

export interface ApiErrorBody {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

/** JetStream's stable error numbers, as far as Antiphon tells them apart. */
const NO_MESSAGE = 10037;
const NO_CONSUMER = 10014;
const NO_STREAM = 10059;
const STREAM_NAME_IN_USE = 10058;
const SUBJECTS_OVERLAP = 10065;
const WRONG_LAST_SEQUENCE = 10071;
const WRONG_LAST_ID = 10070;
/** Newer servers say it so when the sequence is not a constant one. */
const WRONG_LAST_SEQUENCE_CONSTANT = 10164;
const DUPLICATE_UNDER_WAY = 10158;
const MESSAGE_TOO_LARGE = 10054;
const WRONG_STREAM = 10060;
const NOT_ENABLED = 10076;
const NOT_ENABLED_FOR_ACCOUNT = 10039;
const NOT_CLUSTERED = 10074;
const NO_PEERS = 10005;

/** JetStream said no. Stays inside this package: the ports throw AntiphonError. */
export class ApiError extends Error {
  readonly code: number;
  readonly errCode: number;
  readonly description: string;

  constructor(
    readonly operation: string,
    body: ApiErrorBody,
  ) {
    const description = body.description ?? `error ${body.code}`;
    super(`JetStream refused ${operation}: ${description} (${body.err_code ?? body.code})`);
    this.name = 'ApiError';
    this.code = body.code;
    this.errCode = body.err_code ?? 0;
    this.description = description;
  }

  /** Not a no for good: there is no leader just now, or JetStream is still starting. */
  get unavailable(): boolean {
    return this.code === 503 || this.off;
  }

  /** There is no JetStream: not on this server, or not for this account. */
  get off(): boolean {
    return this.errCode === NOT_ENABLED || this.errCode === NOT_ENABLED_FOR_ACCOUNT;
  }

  get offForAccount(): boolean {
    return this.errCode === NOT_ENABLED_FOR_ACCOUNT;
  }

  /** A stream on several servers was asked of one that stands alone. */
  get notClustered(): boolean {
    return this.errCode === NOT_CLUSTERED;
  }

  /** Not enough servers of the NATS cluster are there to hold the stream. */
  get tooFewServers(): boolean {
    return this.errCode === NO_PEERS;
  }

  get noStream(): boolean {
    return this.errCode === NO_STREAM;
  }

  get subjectsOverlap(): boolean {
    return this.errCode === SUBJECTS_OVERLAP;
  }

  get noConsumer(): boolean {
    return this.errCode === NO_CONSUMER;
  }

  get noMessage(): boolean {
    return this.errCode === NO_MESSAGE;
  }

  get streamNameInUse(): boolean {
    return this.errCode === STREAM_NAME_IN_USE;
  }

  get messageTooLarge(): boolean {
    return this.errCode === MESSAGE_TOO_LARGE;
  }

  get wrongStream(): boolean {
    return this.errCode === WRONG_STREAM;
  }

  /** The log, or the subject, does not end with what the publisher expected. */
  get wrongLast(): boolean {
    return [WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT, WRONG_LAST_ID].includes(this.errCode);
  }

  /**
   * Newer servers: a message with this id is on its way into the log, and may or may not get there.
   */
  get duplicateUnderWay(): boolean {
    return this.errCode === DUPLICATE_UNDER_WAY;
  }

  /** What the last sequence really is, from "wrong last sequence: 7". */
  get actualLastSequence(): number | undefined {
    const found = /wrong last sequence: (\d+)/.exec(this.description)?.[1];
    return found === undefined ? undefined : Number(found);
  }
}

/**
 * For the ports: an AntiphonError stays itself, JetStream's no becomes LOG_REFUSED, or
 * LOG_UNAVAILABLE where servers are missing that may still come.
 */
export function toPortError(error: unknown, context: Readonly<Record<string, unknown>>): AntiphonError {
  if (error instanceof AntiphonError) return error;
  if (error instanceof ApiError) {
    const code = error.tooFewServers ? 'LOG_UNAVAILABLE' : 'LOG_REFUSED';
    return new AntiphonError(code, `${error.message}. ${adviceOn(error)}`, { cause: error, context });
  }
  return new AntiphonError('INTERNAL', String(error), { cause: error, context });
}

function adviceOn(error: ApiError): string {
  if (error.notClustered)
    return 'Leave `streamReplicas` out, or make the NATS servers one cluster, as infra/nats/cluster.conf does.';
  if (error.tooFewServers)
    return 'Start the other servers of the NATS cluster, with JetStream on each, or give a smaller `streamReplicas`.';
  return 'Check the stream and the limits of the account.';
}
