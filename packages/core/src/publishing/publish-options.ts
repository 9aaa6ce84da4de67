import { AntiphonError } from '../errors/antiphon-error.js';
import { checkOptions, checkRequired, type OptionNames } from '../options/check-options.js';
import { oneOf, OPTION, type OptionKind } from '../options/option-kinds.js';
import { SubjectTemplate } from './subject-template.js';

/** Which changes other programs get from a stream of their own, and how. */
export interface PublishOptions {
  /**
   * The subject of each change, for example `shop.{table}.{op}`. `{table}`, `{op}` (`insert`,
   * `update`, `delete`) and `{origin}` (the id of the replica that wrote it) each stand for one
   * token.
   */
  readonly subject: string;
  /**
   * How a change is written: docs/publishing.md.
   * @defaultValue 'json'
   */
  readonly format?: 'json';
  /**
   * The name of the JetStream stream. It is made when it is missing, and never altered.
   * @defaultValue `ANTIPHON-CHANGES_` and the name of the cluster
   */
  readonly stream?: string;
  /**
   * How much of it the stream keeps, from when it is made on.
   * @defaultValue everything
   */
  readonly retention?: PublishRetention;
}

/** What comes first decides. The newest change is always kept, but for `maxAgeMs`. */
export interface PublishRetention {
  /**
   * For how many milliseconds a change is kept, at least a minute.
   * @defaultValue for ever
   */
  readonly maxAgeMs?: number;
  /**
   * How many bytes of changes are kept.
   * @defaultValue all
   */
  readonly maxBytes?: number;
  /**
   * How many changes are kept.
   * @defaultValue all
   */
  readonly maxMessages?: number;
}

export interface PublishSettings {
  readonly subject: SubjectTemplate;
  readonly stream: string;
  readonly retention: PublishRetention;
}

const MIN_AGE_MS = 60_000;
const STREAM_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,126}$/;
/** Streams of Antiphon and of NATS itself. */
const RESERVED = /^(ANTIPHON_|ANTIPHON-LEASE_|KV_|OBJ_|MQTT_)/;

const STREAM: OptionKind = {
  give: 'letters, digits, "_" and "-"; names that begin with ANTIPHON_, ANTIPHON-LEASE_, KV_, OBJ_ or MQTT_ are taken',
  is: (value) => typeof value === 'string' && STREAM_NAME.test(value) && !RESERVED.test(value),
};
const AGE: OptionKind = {
  give: `milliseconds, at least ${MIN_AGE_MS}`,
  is: (value) => Number.isSafeInteger(value) && (value as number) >= MIN_AGE_MS,
};
const AMOUNT: OptionKind = {
  give: 'a whole number, 1 or more',
  is: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};
const NAMES: OptionNames<PublishOptions> = {
  subject: OPTION.text,
  format: oneOf('json'),
  stream: STREAM,
  retention: true,
};
const RETENTION: OptionNames<PublishRetention> = { maxAgeMs: AGE, maxBytes: AMOUNT, maxMessages: AMOUNT };

/** Throws BAD_OPTION. */
export function parsePublish(cluster: string, options: PublishOptions): PublishSettings {
  checkRequired(options, NAMES, '`publish`', ['subject']);
  const { subject, stream = changesStream(cluster), retention = {} } = options;
  checkOptions(retention, RETENTION, '`publish.retention`');
  if (!STREAM.is(stream))
    throw new AntiphonError(
      'BAD_OPTION',
      `\`publish\` needs another stream than ${stream}. Give \`stream\`.`,
    );
  return { subject: new SubjectTemplate(subject), stream, retention };
}

/** The stream of published changes, if nobody names another one. */
export function changesStream(cluster: string): string {
  return `ANTIPHON-CHANGES_${cluster}`;
}
