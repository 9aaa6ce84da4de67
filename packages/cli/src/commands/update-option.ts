import { suggest } from '@antiphon/core';
import type { UpdateOptions } from '@antiphon/replica';
import { InvalidArgumentError } from 'commander';

const NAMES = ['async', 'sync'] as const;
export type UpdateName = (typeof NAMES)[number];

/** One copy beside the writer's own: what `sync` is for. */
const SYNC_COPIES = 2;

/** For `--update`. */
export function updateName(text: string): UpdateName {
  const name = NAMES.find((known) => known === text);
  if (name !== undefined) return name;
  throw new InvalidArgumentError(suggest(text, NAMES));
}

/** For a cluster of so many replicas on this machine. A single one waits for nobody. */
export function updateOf(name: UpdateName, replicas: number): UpdateOptions {
  if (name === 'async') return { mode: 'async' };
  return { mode: 'sync', acks: 'all', minInSync: Math.min(SYNC_COPIES, replicas) };
}
