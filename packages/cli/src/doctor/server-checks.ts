import { counted } from '@antiphon/core';
import type { ServerDescription } from '@antiphon/nats';
import { ok, splitSentence, warn, fail, type Check, type Grade } from './check.js';

const BYTES_PER_MB = 1_000_000;

type JetStream = NonNullable<ServerDescription['jetstream']>;

/** The server under the cluster: version, JetStream, how durable the log is, clocks. */
export function serverChecks(server: ServerDescription): readonly Check[] {
  const { version, servers, rttMs, jetstream } = server;
  const problems = server.warnings.map((warning): Check => {
    const grade: Grade = warning.startsWith('JetStream is off') ? 'fail' : 'warn';
    return { name: 'server', grade, ...splitSentence(warning) };
  });
  return [
    ok('server', `nats-server ${version} at ${servers}, round trip ${rttMs.toFixed(1)} ms`),
    ...(jetstream === undefined ? [] : [jetStreamCheck(jetstream)]),
    ...logChecks(server),
    ...clockChecks(server),
    ...problems,
  ];
}

function jetStreamCheck(jetstream: JetStream): Check {
  const { storageBytes, streams, consumers } = jetstream;
  const used = `${megabytes(storageBytes)} used, ${storageLimit(jetstream)}`;
  return ok(
    'jetstream',
    `JetStream is on: ${counted(streams, 'stream')}, ${counted(consumers, 'consumer')}, ${used}`,
  );
}

/** The one that is reached first. */
function storageLimit({ storageBytes, maxStorageBytes, server }: JetStream): string {
  const account = maxStorageBytes < 0 ? Infinity : maxStorageBytes - storageBytes;
  if (server !== undefined && server.maxStorageBytes - server.storageBytes < account) {
    const { storageBytes: used, maxStorageBytes: most } = server;
    const others = used > storageBytes ? `, of which ${megabytes(used)} are used by all accounts` : '';
    return `of ${megabytes(most)} that the server may store (max_file_store)${others}`;
  }
  if (maxStorageBytes >= 0) return `of ${megabytes(maxStorageBytes)} that this account may store`;
  return "no limit for this account, so the server's max_file_store holds (`--monitor` shows it)";
}

function logChecks({ log, jetstream }: ServerDescription): readonly Check[] {
  // Without JetStream nobody can say whether there is one.
  if (jetstream === undefined) return [];
  if (log === undefined) {
    return [
      fail(
        'log',
        'The cluster has no log here yet.',
        'Start its first replica: `antiphon run --config antiphon.yaml`.',
      ),
    ];
  }
  const { stream, firstSeq, lastSeq, bytes, maxBytes, replicas, durability, removed } = log;
  const copies = replicas === 1 ? 'one copy' : `${replicas} copies`;
  const entries = `${stream}: entries ${firstSeq} to ${lastSeq}`;
  const limit = maxBytes < 0 ? '' : ` of ${megabytes(maxBytes)} (max_bytes)`;
  const missing: string[] = [];
  // The entry before the second one is the record that says which log it is, which replicas write
  // again.
  if (lastSeq > 0 && firstSeq > 2)
    missing.push(`those before ${firstSeq} were trimmed, so a replica with an empty file can no longer join`);
  if (removed !== undefined)
    missing.push(
      `${removed} were removed from between others, so no replica that has not read them gets past`,
    );
  const facts =
    missing.length === 0
      ? ok('log', `${entries}, ${megabytes(bytes)}${limit}, ${copies}`)
      : warn(
          'log',
          `${entries}; ${missing.join('; ')}.`,
          'Copy a database that has them, and begin a new log from it (docs/lost-log.md, way 4).',
        );
  const { grade, sentence } = durability;
  // Memory is among the server's warnings already.
  if (grade === 'memory') return [facts];
  if (grade === 'fsync' || grade === 'replicated') return [facts, ok('durability', `${grade}: ${sentence}`)];
  const { message, advice } = splitSentence(sentence);
  return [facts, warn('durability', `${grade}: ${message}`, advice)];
}

function clockChecks({ clock }: ServerDescription): readonly Check[] {
  if (clock === undefined) return [];
  const { differenceMs, uncertaintyMs } = clock;
  return [
    ok(
      'clock',
      `The server's clock is ${Math.round(differenceMs) + 0} ms from this machine's (± ${uncertaintyMs.toFixed(1)} ms)`,
    ),
  ];
}

function megabytes(bytes: number): string {
  return `${(bytes / BYTES_PER_MB).toFixed(1)} MB`;
}

export function unreachable(reason: string): Check {
  const { message, advice } = splitSentence(reason);
  return fail('server', message, advice);
}
