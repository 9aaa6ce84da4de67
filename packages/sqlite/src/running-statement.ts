/** Told which statement of a write is about to run, and when the write has ended. */
export interface StatementWatch {
  begins(sql: string): void;
  ends(): void;
}

let watch: StatementWatch | undefined;

/** For the whole process; undefined: nobody watches. */
export function watchStatements(by: StatementWatch | undefined): void {
  watch = by;
}

export function statementBegins(sql: string): void {
  watch?.begins(sql);
}

export function writeEnds(): void {
  watch?.ends();
}
