type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/**
 * Where a replica reports what an operator should know: fields first, then a message. A pino logger
 * fits as it is.
 */
export interface Logger {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
}

/** Logs nothing. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * What a logger throws is dropped: whatever was to be logged is done all the same, and nobody is
 * left to tell.
 */
export function guardedLogger(logger: Logger): Logger {
  const guarded =
    (level: keyof Logger): Write =>
    (fields, message) => {
      try {
        logger[level](fields, message);
      } catch {
        // See above.
      }
    };
  return {
    debug: guarded('debug'),
    info: guarded('info'),
    warn: guarded('warn'),
    error: guarded('error'),
  };
}
