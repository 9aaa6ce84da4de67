import { MAX_ACKS } from '@antiphon/core';
import { z } from 'zod';
import { fromText } from './from-text.js';
import { HTTP_KEYS, HTTP_LIMIT_KEYS, HTTP_TLS_KEYS, httpSchema } from './http-schema.js';
import { LIMIT_KEYS, limitsSchema } from './limits-schema.js';
import { SUBJECTS_KEYS, SUBJECTS_LIMIT_KEYS, subjectsSchema } from './subjects-schema.js';

/**
 * The same rule as core's `assertReplicaId` and `assertClusterName`: ids become tokens of NATS
 * subjects.
 */
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const NAME_RULE = 'must be 1 to 63 letters, digits, "_" or "-", and start with a letter or a digit';
const MAX_TABLES = 1000;
const MAX_SERVERS = 32;
const MAX_INTERVAL_MS = 3_600_000;
const MAX_READERS = 64;
const MAX_PRIORITY = 1000;
const MAX_WEIGHT = 1000;
const MAX_ZONE = 80;
const MIN_AGE_MS = 60_000;
const MAX_DURATION_MS = 86_400_000;
export const ACK_WORDS = ['all', 'majority', 'logged', 'local'] as const;

const name = (what: string) => z.string().regex(NAME_PATTERN, `${what} ${NAME_RULE}`);
const text = z.string().min(1, 'must not be empty');

const tlsSchema = z.strictObject({
  ca: text
    .optional()
    .describe("PEM file of who signed the server's certificate. Default: what Node.js trusts."),
  cert: text.optional().describe("PEM file of this client's certificate, for a server that asks for one."),
  key: text.optional().describe('PEM file of the key that belongs to `cert`.'),
  handshakeFirst: z
    .boolean()
    .optional()
    .describe('For a server with handshake_first, which expects TLS before it says anything.'),
});

const natsSchema = z.strictObject({
  servers: z
    .union([text, z.array(text).min(1).max(MAX_SERVERS)])
    .describe(
      'URL of a NATS server with JetStream, or several of one NATS cluster, as a list or separated by commas.',
    ),
  user: text.optional().describe('User name, with `password`.'),
  password: text.optional().describe('Better not in this file: ${ANTIPHON_PASSWORD}.'),
  token: text.optional().describe('Instead of a user name. Better not in this file: ${ANTIPHON_TOKEN}.'),
  nkey: text.optional().describe("File with the seed of the user's nkey, or the seed itself (SU…)."),
  creds: text.optional().describe('A .creds file: the JWT of the user, and its seed.'),
  tls: tlsSchema.optional().describe('An encrypted connection. Paths start at the folder of this file.'),
  inboxPrefix: text.optional().describe('What the subjects of answers begin with. Default: _INBOX.'),
  streamReplicas: z
    .literal([1, 3, 5])
    .optional()
    .describe(
      'How many servers of the NATS cluster keep the log and the registry: 1 (default), 3 or 5. The replica that ' +
        'creates them decides; `nats stream edit --replicas` changes it later.',
    ),
});

const sqliteSchema = z.strictObject({
  file: text.describe('The SQLite file. A relative path starts at the folder of this configuration file.'),
  synchronous: z
    .enum(['normal', 'full'])
    .optional()
    .describe(
      'When commits reach the disk. normal (default): a power cut may take the last ones back, and the replica ' +
        'fetches them from the log again. full: each is on disk before it is acknowledged; always so with ' +
        '`update: { mode: sync }`.',
    ),
  readers: z
    .preprocess(fromText, z.number().int().min(1).max(MAX_READERS))
    .optional()
    .describe('How many processes run queries, started on demand. Default 2.'),
  streams: z
    .preprocess(fromText, z.number().int().min(1).max(MAX_READERS))
    .optional()
    .describe('How many streams of rows may be open at once, each with a process of its own. Default 4.'),
  busyTimeoutMs: z
    .preprocess(fromText, z.number().int().min(1).max(MAX_INTERVAL_MS))
    .optional()
    .describe("How long to wait for another program's transaction. Default 5000."),
});

const storeSchema = z.strictObject({ sqlite: sqliteSchema });

const multiPrimaryModeSchema = z.strictObject({ mode: z.literal('multi-primary') });

const primaryReplicaModeSchema = z.strictObject({
  mode: z.literal('primary-replica'),
  primary: name('the id of the primary'),
});

const topologySchema = z.union([
  primaryReplicaModeSchema.describe('One replica accepts writes, the others follow it.'),
  multiPrimaryModeSchema.describe('Every replica accepts writes.'),
]);

const asyncSchema = z
  .strictObject({
    mode: z.literal('async'),
    intervalMs: z
      .preprocess(fromText, z.number().int().min(0).max(MAX_INTERVAL_MS))
      .optional()
      .describe('How long changes are gathered before they are sent; 0: at once.'),
  })
  .describe('A write is complete once one database has committed it.');

const syncSchema = z
  .strictObject({
    mode: z.literal('sync'),
    acks: z
      .preprocess(fromText, z.union([z.enum(ACK_WORDS), z.number().int().min(1).max(MAX_ACKS)]))
      .optional()
      .describe(
        'Which databases must have committed a write: all (that are in sync), majority (of the members), a number of ' +
          "them, local (the writer's own); or logged, once the log has it. A write may ask for another level.",
      ),
    minInSync: z
      .preprocess(fromText, z.number().int().min(1).max(MAX_ACKS))
      .optional()
      .describe(
        'With fewer replicas in sync there is a shortfall. Defaults to 2 with `acks: all`, else to 1.',
      ),
    onShortfall: z
      .enum(['reject', 'degrade'])
      .optional()
      .describe('Then writes that wait for other databases are rejected, or go on without them and say so.'),
    foreignWrites: z
      .enum(['refuse', 'async'])
      .optional()
      .describe('Writes by other programs into the file are refused, or propagated asynchronously.'),
  })
  .describe('A write is complete once the chosen replicas have committed it.');

const updateSchema = z.discriminatedUnion('mode', [asyncSchema, syncSchema]);

const duration = (what: string) =>
  z.preprocess(fromText, z.number().int().min(0).max(MAX_DURATION_MS)).optional().describe(what);

const failoverSchema = z.strictObject({
  mode: z
    .enum(['automatic', 'manual'])
    .optional()
    .describe(
      'Whether another replica takes over by itself when the primary has gone (default), or when told to.',
    ),
  leaseMs: duration('How long a primary may write after it was last heard. Default 2000.'),
  renewMs: duration('How often it renews that. Default 500.'),
  marginMs: duration('How much earlier it stops than others take over. Default 250.'),
  probeMs: duration('How often a follower asks whether the primary is there. Default 100.'),
  goneMs: duration('For how long nobody must listen for the primary until it counts as gone. Default 1000.'),
  onIsolation: z
    .enum(['suspend', 'continue'])
    .optional()
    .describe(
      'A primary that cannot renew its lease takes no writes (suspend, default), or goes on, and they may end in ' +
        'its rescue ledger.',
    ),
  foreignLeaseMs: duration(
    'How long other programs may write to the file of a primary whose process has ended; 0: for ever. Default 300000.',
  ),
});

const readsSchema = z.strictObject({
  weight: z
    .preprocess(fromText, z.number().positive().max(MAX_WEIGHT))
    .optional()
    .describe('How many reads it gets, compared with the others. Default 1.'),
  zone: z
    .string()
    .min(1)
    .max(MAX_ZONE)
    .optional()
    .describe('Where it is: clients that say the same get their reads from here first.'),
});

const amount = (what: string, least: number) =>
  z.preprocess(fromText, z.number().int().min(least)).optional().describe(what);

const retentionSchema = z.strictObject({
  maxAgeMs: amount('For how long changes are kept, at least a minute.', MIN_AGE_MS),
  maxBytes: amount('How many bytes are kept.', 1),
  maxMessages: amount('How many changes are kept.', 1),
});

const publishSchema = z.strictObject({
  subject: text.describe('Of each change, such as shop.{table}.{op}; {origin} is the replica that wrote it.'),
  format: z.literal('json').optional().describe('json, the only one.'),
  stream: text.optional().describe('The JetStream stream. Default: ANTIPHON-CHANGES_ and the cluster.'),
  retention: retentionSchema
    .optional()
    .describe('What the stream keeps, when it is made. Default: everything.'),
});

const tracingSchema = z.strictObject({
  sql: z
    .boolean()
    .optional()
    .describe('Whether spans have the text of statements. Parameters are never in spans. Default: true.'),
});

export const configSchema = z
  .strictObject({
    cluster: name('the name of the cluster').describe('Name of the cluster; the same on every replica.'),
    id: name('the id of the replica').describe('Name of this replica; no other one of the cluster has it.'),
    nats: natsSchema,
    store: storeSchema.describe('The database of this replica.'),
    tables: z
      .union([z.literal('auto'), z.array(text).min(1).max(MAX_TABLES)])
      .optional()
      .describe(
        'The replicated tables. Defaults to `auto`: every table that can be replicated, except those of migration ' +
          'tools.',
      ),
    localTriggers: z
      .array(text)
      .max(MAX_TABLES)
      .optional()
      .describe(
        'Triggers that use what is not replicated (a full-text index, an audit table) and stay in this database.',
      ),
    topology: topologySchema
      .optional()
      .describe(
        'Which replicas may write. Defaults to what the cluster has agreed on: its first replica is the primary.',
      ),
    failoverPriority: z
      .preprocess(fromText, z.number().int().min(0).max(MAX_PRIORITY))
      .optional()
      .describe(
        'Of replicas that have read about as much of the log, the one with the highest priority becomes the primary ' +
          'when the primary fails. 0: never this one. Default 100.',
      ),
    reads: readsSchema
      .optional()
      .describe('How clients that spread their reads over the replicas see this one.'),
    publish: publishSchema
      .optional()
      .describe(
        'Publishes committed changes as JSON to a stream of their own, for clients of NATS in any language.',
      ),
    update: updateSchema.optional().describe('When a write is complete.'),
    failover: failoverSchema
      .optional()
      .describe(
        'In a primary-replica cluster: another replica can become the primary. Without it the primary stays the ' +
          'primary.',
      ),
    http: httpSchema
      .optional()
      .describe('Serves this replica over HTTP: docs/http.md. Without it, it answers over NATS only.'),
    subjects: subjectsSchema
      .optional()
      .describe(
        'Answers clients of NATS in any language on antiphon.CLUSTER.read and .write: docs/subjects.md. ' +
          '`true`, or a mapping with `limits`.',
      ),
    tracing: tracingSchema
      .optional()
      .describe('What goes into OpenTelemetry spans, where the process has an SDK: docs/tracing.md.'),
    limits: limitsSchema.optional(),
    onStall: z
      .enum(['stay', 'exit'])
      .optional()
      .describe(
        'When replication stops until somebody acts: stay to answer commands, and say so in `antiphon health` ' +
          '(default); or end with exit code 1.',
      ),
  })
  .describe('One replica of an Antiphon cluster (antiphon.yaml).');

/** What may stand at each place, for suggestions. */
export const KNOWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(configSchema.shape),
  nats: Object.keys(natsSchema.shape),
  'nats.tls': Object.keys(tlsSchema.shape),
  store: Object.keys(storeSchema.shape),
  'store.sqlite': Object.keys(sqliteSchema.shape),
  topology: Object.keys(primaryReplicaModeSchema.shape),
  failover: Object.keys(failoverSchema.shape),
  reads: Object.keys(readsSchema.shape),
  http: HTTP_KEYS,
  'http.tls': HTTP_TLS_KEYS,
  'http.limits': HTTP_LIMIT_KEYS,
  subjects: SUBJECTS_KEYS,
  'subjects.limits': SUBJECTS_LIMIT_KEYS,
  publish: Object.keys(publishSchema.shape),
  'publish.retention': Object.keys(retentionSchema.shape),
  tracing: Object.keys(tracingSchema.shape),
  limits: LIMIT_KEYS,
};

/** What may stand in `update`, by its mode. */
export const UPDATE_KEYS = {
  async: Object.keys(asyncSchema.shape),
  sync: Object.keys(syncSchema.shape),
} as const;

/** The file as written, valid. */
export type ConfigFile = z.infer<typeof configSchema>;
