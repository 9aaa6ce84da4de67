import type { Report, Unit } from './figure.js';
import { median } from './statistics.js';

interface Values {
  readonly case: string;
  readonly metric: string;
  readonly unit: Unit;
  readonly values: number[];
}

/** What every round measured, by case and metric; the median of it is the figure. */
export class Series {
  readonly #all = new Map<string, Values>();

  constructor(
    private readonly bench: string,
    private readonly report: Report,
  ) {}

  add(name: string, metric: string, unit: Unit, value: number): void {
    const known = this.#find(name, metric);
    if (known !== undefined) known.values.push(value);
    else this.#all.set(keyOf(name, metric), { case: name, metric, unit, values: [value] });
  }

  /** In the order in which they were first added. What could not be measured is left out. */
  reportAll(): void {
    for (const { case: name, metric, unit, values } of this.#all.values())
      this.#figure(name, metric, unit, median(values));
  }

  /**
   * The median of the ratios of two values of the same round: what disturbs a round disturbs both.
   */
  reportRatio(name: string, metric: string, above: string, below: string): void {
    const [a, b] = [this.#find(above, metric)?.values ?? [], this.#find(below, metric)?.values ?? []];
    const ratios = a.map((value, round) => value / (b[round] ?? Number.NaN));
    this.#figure(name, metric, 'ratio', median(ratios));
  }

  #figure(name: string, metric: string, unit: Unit, value: number): void {
    if (Number.isFinite(value)) this.report.figure({ bench: this.bench, case: name, metric, value, unit });
  }

  #find(name: string, metric: string): Values | undefined {
    return this.#all.get(keyOf(name, metric));
  }
}

function keyOf(name: string, metric: string): string {
  return `${name}: ${metric}`;
}
