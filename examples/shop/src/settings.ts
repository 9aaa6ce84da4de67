export const CLUSTER = 'shop';
/** Where committed changes are published. */
export const CHANGES_STREAM = `ANTIPHON-CHANGES_${CLUSTER}`;

export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0));
  CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, item TEXT NOT NULL, pieces INTEGER NOT NULL, state TEXT NOT NULL
  );
  INSERT OR IGNORE INTO stock VALUES ('lamp', 1000000), ('chair', 1000000);
`;

/** The value of an environment variable. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`The environment variable ${name} is missing.`);
  return value;
}

/** Runs once, at the first signal that asks this process to end. */
export function atEnd(end: () => Promise<void>): void {
  const once = (): void => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.removeListener(signal, once);
    void end();
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, once);
}
