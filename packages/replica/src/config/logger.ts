type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/** Where a replica reports what an operator should know. A pino logger fits as it is. */
export interface Logger {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
}

export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
