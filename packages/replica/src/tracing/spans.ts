import { type Attributes, type Context, ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import { isRecord, type TransactionTrace } from '@antiphon/core';
import { childOf, spanContextOf, type SpanSpec } from './tracer.js';

/** What spans say of the cluster that they are about. */
export interface TracedCluster {
  readonly cluster: string;
  /** Of the replica where it happens; absent outside of replicas. */
  readonly id?: string;
  readonly tracing: TracingSettings;
}

/** What goes into spans. */
export interface TracingSettings {
  /** The text of statements. */
  readonly sql: boolean;
}

/** One call, of a program or from elsewhere: `execute shop`. */
export interface TracedCall {
  readonly operation: 'execute' | 'query' | 'transaction' | 'stream';
  readonly kind: SpanKind;
  /** As it was given, without its parameters. */
  readonly sql?: readonly string[];
  readonly parent?: Context | undefined;
}

const MAX_SQL = 2000;

/** By the conventions for databases: the cluster is the database, whoever keeps it. */
export function callSpan(
  { cluster, id, tracing }: TracedCluster,
  { operation, kind, sql = [], parent }: TracedCall,
): SpanSpec {
  const text = tracing.sql ? sql.join('; ').slice(0, MAX_SQL) : '';
  return {
    ...{ name: `${operation} ${cluster}`, kind, ...(parent && { parent }) },
    attributes: {
      ...about(cluster, id),
      'db.system.name': 'antiphon',
      'db.namespace': cluster,
      'db.operation.name': operation,
      ...(text !== '' && { 'db.query.text': text }),
      ...(sql.length > 1 && { 'db.operation.batch.size': sql.length }),
    },
  };
}

/** Of the program that the replica is a part of. Nobody has looked at `statements` yet. */
export function calledSpan(
  cluster: TracedCluster,
  operation: TracedCall['operation'],
  statements: unknown = [],
): SpanSpec {
  return callSpan(cluster, { operation, kind: SpanKind.INTERNAL, sql: textsOf(statements) });
}

export function textsOf(statements: unknown): readonly string[] {
  if (!Array.isArray(statements)) return [];
  return statements.flatMap((one: unknown) =>
    isRecord(one) && typeof one['sql'] === 'string' ? one['sql'] : [],
  );
}

/** A step of a write: `commit shop`, `forward shop`. */
export function stepSpan(step: string, { cluster, id }: TracedCluster, kind: SpanKind): SpanSpec {
  return { name: `${step} ${cluster}`, kind, attributes: about(cluster, id) };
}

/** A transaction on its way into the log: `publish antiphon.shop.log`. */
export function publishSpan({ cluster, id }: TracedCluster, transaction: string, parent: Context): SpanSpec {
  return {
    ...{ name: `publish ${logOf(cluster)}`, kind: SpanKind.PRODUCER, parent },
    attributes: { ...messaging(cluster, id, 'publish', 'send'), 'antiphon.transaction': transaction },
  };
}

/**
 * Entries of the log on their way into a database: `apply antiphon.shop.log`. What was written
 * under one span goes on with it; of several, none is the parent, and all are links.
 */
export function applySpan(
  { cluster, id }: TracedCluster,
  traces: readonly TransactionTrace[],
  entries: number,
): SpanSpec | undefined {
  const [first, ...others] = traces.map(spanContextOf);
  if (first === undefined) return undefined;
  const isAlone = others.length === 0;
  return {
    ...{ name: `apply ${logOf(cluster)}`, kind: SpanKind.CONSUMER },
    parent: isAlone ? childOf(first) : ROOT_CONTEXT,
    links: isAlone ? [] : [first, ...others].map((context) => ({ context })),
    attributes: {
      ...messaging(cluster, id, 'apply', 'process'),
      ...(entries > 1 && { 'messaging.batch.message_count': entries }),
    },
  };
}

function messaging(cluster: string, id: string | undefined, name: string, type: string): Attributes {
  return {
    ...about(cluster, id),
    'messaging.system': 'nats',
    'messaging.destination.name': logOf(cluster),
    'messaging.operation.name': name,
    'messaging.operation.type': type,
  };
}

function about(cluster: string, id: string | undefined): Attributes {
  return { 'antiphon.cluster': cluster, ...(id !== undefined && { 'antiphon.replica': id }) };
}

/** Without the last token, which would be another one for each replica. */
function logOf(cluster: string): string {
  return `antiphon.${cluster}.log`;
}
