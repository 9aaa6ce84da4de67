export type Unit =
  'rows/s' | 'tx/s' | 'reads/s' | 'changes/s' | 'µs' | 'ms' | 'MB' | 's' | 'ratio' | 'messages' | 'count';

/** One measured number. */
export interface Figure {
  readonly bench: string;
  readonly case: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: Unit;
}

/** Where figures and, for people, what is going on are written. */
export interface Report {
  figure(figure: Figure): void;
  /** What is being measured right now; to stderr, so that stdout holds figures only. */
  note(text: string): void;
  end(): void;
}

const SIGNIFICANT_DIGITS = 4;

/**
 * With --json: an object a line, as soon as it is known. Otherwise: a table at the end of each
 * bench.
 */
export function createReport(json: boolean): Report {
  const kept: Figure[] = [];
  return {
    figure(figure) {
      const { bench, case: name, metric, value, unit } = figure;
      const rounded: Figure = { bench, case: name, metric, value: round(value), unit };
      if (json) process.stdout.write(`${JSON.stringify(rounded)}\n`);
      else kept.push(rounded);
    },
    note(text) {
      process.stderr.write(`${text}\n`);
    },
    end() {
      if (kept.length > 0) process.stdout.write(table(kept.splice(0)));
    },
  };
}

function round(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(SIGNIFICANT_DIGITS)) : value;
}

function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.bench,
    figure.case,
    figure.metric,
    figure.value.toLocaleString('en-US', { maximumSignificantDigits: SIGNIFICANT_DIGITS }),
    figure.unit,
  ]);
  const all = [['bench', 'case', 'metric', 'value', 'unit'], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === 3 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return `\n${all.map(line).join('\n')}\n\n`;
}
