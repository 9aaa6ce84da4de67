import { suggest } from '@antiphon/core';
import type { Topology } from '@antiphon/replica';
import { InvalidArgumentError } from 'commander';

const NAMES = ['multi-primary', 'primary-replica'] as const;
export type TopologyName = (typeof NAMES)[number];

export function topologyName(text: string): TopologyName {
  const name = NAMES.find((known) => known === text);
  if (name !== undefined) return name;
  throw new InvalidArgumentError(suggest(text, NAMES));
}

export function topologyOf(name: TopologyName, primary: string): Topology {
  return name === 'multi-primary' ? { mode: name } : { mode: name, primary };
}
