import type { z } from 'zod';
import { formerTopology, MAX_ACKS, soleWriter, suggest, suggestion, type Topology } from '@antiphon/core';
import { ACK_WORDS, KNOWN_KEYS, UPDATE_KEYS } from './schema.js';

const TOPOLOGIES = ['multi-primary', 'primary-replica'] as const;
const TOPOLOGY_FORMS = 'Write `{ mode: multi-primary }`, or `{ mode: primary-replica, primary: ID }`.';

export interface ExplainedIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** One thing that zod found wrong with a configuration, as a sentence that says what to do. */
export function explainIssue(issue: z.core.$ZodIssue, document: unknown): ExplainedIssue {
  const path = issue.path;
  const place = path.map(String).join('.');
  switch (issue.code) {
    case 'unrecognized_keys':
      return place === 'update'
        ? unknownUpdateKey(path, issue.keys[0] ?? '', valueAt(document, ['update', 'mode']))
        : unknownKey(path, issue.keys[0] ?? '');
    case 'invalid_union':
      return explainUnion(path, place, valueAt(document, path), issue.message);
    case 'invalid_value':
      return {
        path,
        message: `${place} must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}.`,
      };
    case 'invalid_type':
      if (valueAt(document, path) === undefined)
        return { path, message: `${place || 'The file'} is missing. ${needs(place)}` };
      return {
        path,
        message: `${place || 'The file'} must be ${article(issue.expected)}.${quotes(place)}${exampleOf(place)}`,
      };
    case 'too_small':
    case 'too_big':
      return { path, message: `${place} ${boundOf(issue)}.` };
    default:
      return fallback(path, issue.message);
  }
}

/** A text that is too short has its own message. */
function boundOf(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const [bound, word] = issue.code === 'too_small' ? [issue.minimum, 'least'] : [issue.maximum, 'most'];
  if (issue.origin === 'array')
    return `must be a list of at ${word} ${bound} ${Number(bound) === 1 ? 'entry' : 'entries'}`;
  if (issue.origin === 'string') return issue.message;
  return `must be at ${word} ${bound}`;
}

function unknownKey(
  parent: readonly PropertyKey[],
  key: string,
  known: readonly string[] = KNOWN_KEYS[parent.map(String).join('.')] ?? [],
): ExplainedIssue {
  const place = parent.map(String).join('.');
  const where = place === '' ? '' : ` in ${place}`;
  return {
    path: [...parent, key],
    message: `Unknown key "${key}"${where}. ${suggest(key, known)}`.trim(),
  };
}

/** Each mode has its own keys: one of the other mode is no spelling mistake. */
function unknownUpdateKey(path: readonly PropertyKey[], key: string, mode: unknown): ExplainedIssue {
  const [own, other] = mode === 'sync' ? (['sync', 'async'] as const) : (['async', 'sync'] as const);
  if (!UPDATE_KEYS[other].includes(key)) return unknownKey(path, key, UPDATE_KEYS[own]);
  const keys = UPDATE_KEYS[own].filter((known) => known !== 'mode').join(', ');
  return {
    path: [...path, key],
    message: `update.${key} needs \`mode: ${other}\`. With \`mode: ${own}\` there is ${keys}.`,
  };
}

function explainUnion(
  path: readonly PropertyKey[],
  place: string,
  value: unknown,
  message: string,
): ExplainedIssue {
  if (place === 'tables') return { path, message: explainTables(value) };
  if (place === 'topology') return explainTopology(path, value);
  if (place === 'update.mode') {
    const said = value === undefined ? 'is missing. Write' : 'must be';
    return { path, message: `update.mode ${said} \`async\` or \`sync\`.` };
  }
  if (place === 'update.acks') {
    const wanted = `${ACK_WORDS.join(', ')}, or a number of databases from 1 to ${MAX_ACKS}`;
    const best = typeof value === 'string' ? suggestion(value, ACK_WORDS) : undefined;
    const guess = best === undefined ? '' : ` Did you mean "${best}"?`;
    return { path, message: `update.acks must be ${wanted}.${guess}` };
  }
  return fallback(path, message);
}

function explainTables(value: unknown): string {
  const wanted = 'must be a list of names, or `auto` for every table that can be replicated';
  if (!Array.isArray(value)) return `tables ${wanted}.`;
  return `tables ${value.length === 0 ? 'is empty. It ' : ''}${wanted}. Put a name that is a number between quotes.`;
}

function explainTopology(path: readonly PropertyKey[], value: unknown): ExplainedIssue {
  const former = formerTopology(value);
  if (former !== undefined)
    return { path, message: `topology is written differently now. Write ${inYaml(former)}.` };
  if (value === 'primary-replica') {
    return { path, message: `topology: primary-replica needs the id of its primary. ${TOPOLOGY_FORMS}` };
  }
  if (typeof value === 'string') {
    return { path, message: `Unknown topology "${value}". ${suggest(value, TOPOLOGIES)} ${TOPOLOGY_FORMS}` };
  }
  if (typeof value === 'object' && value !== null && 'mode' in value) return explainMode(path, value);
  return { path, message: `topology is not valid. ${TOPOLOGY_FORMS}` };
}

function inYaml(topology: Topology): string {
  const primary = soleWriter(topology);
  return primary === undefined
    ? '`{ mode: multi-primary }`'
    : `\`{ mode: primary-replica, primary: ${primary} }\``;
}

function explainMode(path: readonly PropertyKey[], value: object): ExplainedIssue {
  const { mode } = value as { readonly mode: unknown };
  const keys = mode === 'primary-replica' ? ['mode', 'primary'] : ['mode'];
  const unknown = Object.keys(value).find((key) => !keys.includes(key));
  const known = TOPOLOGIES.some((name) => name === mode);
  if (known && unknown !== undefined) return unknownKey(path, unknown, keys);
  if (typeof mode === 'string' && !known) {
    return { path, message: `Unknown topology "${mode}". ${suggest(mode, TOPOLOGIES)} ${TOPOLOGY_FORMS}` };
  }
  return { path, message: `topology is not valid. ${TOPOLOGY_FORMS}` };
}

function needs(place: string): string {
  const examples: Readonly<Record<string, string>> = {
    cluster: 'Name the cluster, like `cluster: shop`.',
    id: 'Name this replica, like `id: eu-1`.',
    update: 'Write `{ mode: async }` or `{ mode: sync }`.',
    nats: 'Name the server, like `nats: { servers: nats://127.0.0.1:4222 }`.',
    store: 'Name the database, like `store: { sqlite: { file: ./shop.db } }`.',
  };
  return examples[place] ?? 'Add it.';
}

/** What stands there is not even of the right kind: `failover: automatic`, or nothing. */
function exampleOf(place: string): string {
  if (place === 'subjects') return ' Write `true`, or `{ limits: … }`.';
  return place === 'failover' ? ' Write `{ mode: automatic }` or `{ mode: manual }`.' : '';
}

/** A password of digits is a number to YAML. */
function quotes(place: string): string {
  return /^nats\.(user|password|token)$/.test(place) ? ' Put it between quotes.' : '';
}

function fallback(path: readonly PropertyKey[], message: string): ExplainedIssue {
  const place = path.map(String).join('.');
  return { path, message: place === '' ? message : `${place}: ${message}` };
}

function article(expected: string): string {
  const names: Readonly<Record<string, string>> = {
    object: 'a mapping',
    array: 'a list',
    int: 'a whole number',
    string: 'text',
    number: 'a number',
  };
  return names[expected] ?? `a ${expected}`;
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    document,
  );
}
