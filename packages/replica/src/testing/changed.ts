/** Something real, of which some members are others. */
export function changed<T extends object>(real: T, others: Partial<T>): T {
  return new Proxy(real, {
    get: (target, name) => {
      if (Object.hasOwn(others, name)) return Reflect.get(others, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
