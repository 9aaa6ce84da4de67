/** What an option has to be; `give` goes on after "Give". */
export interface OptionKind {
  readonly give: string;
  readonly is: (value: unknown) => boolean;
}

/** Kinds of options, for `checkOptions`. */
export const OPTION = {
  text: { give: 'a text', is: (value) => typeof value === 'string' },
  flag: { give: 'true or false', is: (value) => typeof value === 'boolean' },
  callback: { give: 'a function', is: (value) => typeof value === 'function' },
  milliseconds: {
    give: '0 or more milliseconds',
    is: (value) => typeof value === 'number' && value >= 0 && value < Infinity,
  },
  count: {
    give: 'a whole number, 0 or more',
    is: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  },
  names: {
    give: 'a list of names',
    is: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
  },
} satisfies Readonly<Record<string, OptionKind>>;

export function oneOf(first: string, ...others: readonly string[]): OptionKind {
  const values = [first, ...others];
  return {
    give: values.map((value) => `"${value}"`).join(' or '),
    is: (value) => values.some((known) => known === value),
  };
}

export function isOptionKind(kind: unknown): kind is OptionKind {
  return typeof kind === 'object' && kind !== null && 'give' in kind && 'is' in kind;
}
