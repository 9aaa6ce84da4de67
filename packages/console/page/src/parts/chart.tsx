import { useEffect, useId, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { theme } from '../data/theme.js';
import { useStore } from '../data/store.js';
import { short, timeOfDay } from '../model/format.js';
import type { Columns } from '../model/samples.js';
import { colourOf, seriesName } from './colours.js';
import { useWidth } from './use-width.js';

interface ChartProps {
  readonly title: string;
  readonly about: string;
  readonly ids: readonly string[];
  readonly columns: Columns;
  /** Seconds that it shows. */
  readonly span: number;
  readonly shown: (value: number) => string;
  /** Between points that are not there each second. */
  readonly bridges?: boolean;
  /** What moves far from 0 has a scale of its own. */
  readonly floats?: boolean;
}

const HEIGHT = 132;

/** A line for each replica over the last minutes; the values stand above it, also as text. */
export function Chart(props: ChartProps) {
  const { title, about, ids, columns, shown } = props;
  const { ref, width } = useWidth<HTMLDivElement>();
  const [index, setIndex] = useState<number | undefined>(undefined);
  const plot = usePlot(props, ref, width, setIndex);
  useEffect(() => plot.current?.setData(columns), [columns, width]);
  const id = useId();
  const at = index ?? columns[0].length - 1;
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption id={id}>
        <strong>{title}</strong> <span class="about">{about}</span>
      </figcaption>
      <ul class="values">
        {ids.map((name, place) => (
          <li key={name}>
            <span class="swatch" style={{ background: `var(${seriesName(place)})` }} />
            {name} <b>{valueText(columns[place + 1]?.[at], shown)}</b>
          </li>
        ))}
        {index !== undefined && <li class="at">at {timeOfDay((columns[0][at] ?? 0) * 1000)}</li>}
      </ul>
      <div class="plot" ref={ref} style={{ height: `${HEIGHT}px` }} aria-hidden="true" />
    </figure>
  );
}

function valueText(value: number | null | undefined, shown: (value: number) => string): string {
  return value === null || value === undefined ? '–' : shown(value);
}

/** The chart itself is no component: it is made anew when what it is drawn with changes. */
function usePlot(
  { ids, columns, span, bridges = false, floats = false }: ChartProps,
  ref: { readonly current: HTMLDivElement | null },
  width: number,
  onIndex: (index: number | undefined) => void,
) {
  const plot = useRef<uPlot | undefined>(undefined);
  const chosen = useStore(theme);
  const isDark = useDarkness();
  useEffect(() => {
    const element = ref.current;
    if (element === null || width === 0) return undefined;
    const options = optionsOf({ ids, span, bridges, floats, width, onIndex });
    plot.current = new uPlot(options, columns, element);
    return () => plot.current?.destroy();
  }, [ids.join(), span, width, chosen, isDark]);
  return plot;
}

interface Drawn {
  readonly ids: readonly string[];
  readonly span: number;
  readonly bridges: boolean;
  readonly floats: boolean;
  readonly width: number;
  readonly onIndex: (index: number | undefined) => void;
}

function optionsOf({ ids, span, bridges, floats, width, onIndex }: Drawn): uPlot.Options {
  const [ink, line] = [colourOf('--muted'), colourOf('--line')];
  const axis = {
    stroke: ink,
    font: '11px system-ui',
    grid: { stroke: line, width: 1 },
    ticks: { show: false },
  };
  const times = (_: uPlot, splits: number[]): string[] =>
    splits.map((second) => timeOfDay(second * 1000).slice(0, span > 60 ? 5 : 8));
  const toTop = (_: uPlot, least: number, most: number): [number, number] =>
    floats && Number.isFinite(least) ? [least - 1, most + 1] : [0, Math.max(1, most * 1.1)];
  return {
    ...{ width, height: HEIGHT, legend: { show: false } },
    padding: [6, 6, 0, 0],
    cursor: { sync: { key: 'charts' }, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { range: (_, __, last) => [last - span, last] }, y: { range: toTop } },
    axes: [
      { ...axis, size: 24, space: 70, values: times, incrs: [15, 30, 60, 120, 300] },
      { ...axis, size: 44, space: 32, values: (_, splits) => splits.map(short) },
    ],
    series: [
      {},
      ...ids.map((label, index) => ({
        ...{ label, width: 1.6, spanGaps: bridges, stroke: colourOf(seriesName(index)) },
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [({ cursor }) => onIndex(cursor.idx ?? undefined)] },
  };
}

function useDarkness(): boolean {
  const query = matchMedia('(prefers-color-scheme: dark)');
  const [isDark, setIsDark] = useState(query.matches);
  useEffect(() => {
    const look = (): void => setIsDark(query.matches);
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return isDark;
}
