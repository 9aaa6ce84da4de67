import type { z } from 'zod';
import { KNOWN_KEYS } from './schema.js';
import { suggest } from './suggestion.js';

const TOPOLOGIES = ['multi-primary', 'primary-replica'] as const;
const TOPOLOGY_FORMS = 'Write `multi-primary`, or `{ primary-replica: { primary: ID } }`.';

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
      return unknownKey(path, issue.keys[0] ?? '');
    case 'invalid_union':
      return place === 'topology'
        ? explainTopology(path, valueAt(document, path))
        : fallback(path, issue.message);
    case 'invalid_value':
      return {
        path,
        message: `${place} must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}.`,
      };
    case 'invalid_type':
      if (valueAt(document, path) === undefined)
        return { path, message: `${place || 'the file'} is missing; ${needs(place)}` };
      return { path, message: `${place || 'the file'} must be ${article(issue.expected)}.` };
    default:
      return fallback(path, issue.message);
  }
}

function unknownKey(parent: readonly PropertyKey[], key: string): ExplainedIssue {
  const place = parent.map(String).join('.');
  const where = place === '' ? '' : ` in ${place}`;
  return {
    path: [...parent, key],
    message: `unknown key "${key}"${where}. ${suggest(key, KNOWN_KEYS[place] ?? [])}`.trim(),
  };
}

function explainTopology(path: readonly PropertyKey[], value: unknown): ExplainedIssue {
  if (value === 'primary-replica') {
    return { path, message: `topology: primary-replica needs the id of its primary. ${TOPOLOGY_FORMS}` };
  }
  if (typeof value === 'string') {
    return { path, message: `unknown topology "${value}". ${suggest(value, TOPOLOGIES)} ${TOPOLOGY_FORMS}` };
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const unknown = Object.keys(value).find((key) => key !== 'primary-replica');
    if (unknown !== undefined) return unknownKey(path, unknown);
    const inner: unknown = Object.values(value)[0];
    const innerKeys = typeof inner === 'object' && inner !== null ? Object.keys(inner) : [];
    const unknownInner = innerKeys.find((key) => key !== 'primary');
    if (unknownInner !== undefined) return unknownKey([...path, 'primary-replica'], unknownInner);
  }
  return { path, message: `topology is not valid. ${TOPOLOGY_FORMS}` };
}

function needs(place: string): string {
  const examples: Readonly<Record<string, string>> = {
    cluster: 'name the cluster, like `cluster: shop`.',
    id: 'name this replica, like `id: eu-1`.',
    nats: 'name the server, like `nats: { servers: nats://127.0.0.1:4222 }`.',
    store: 'name the database, like `store: { sqlite: { file: ./shop.db } }`.',
    topology: TOPOLOGY_FORMS,
  };
  return examples[place] ?? 'add it.';
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
