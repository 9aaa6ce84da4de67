import { useMemo, useState } from 'preact/hooks';
import type { Picture } from '../data/cluster.js';
import { measured, perSecond, whole } from '../model/format.js';
import type { Observed } from '../model/observe.js';
import { columnsOf, type Measure } from '../model/samples.js';
import { Chart } from '../parts/chart.js';
import { Panel } from '../parts/panel.js';

interface Shown {
  readonly measure: Measure;
  readonly title: string;
  readonly about: string;
  readonly shown: (value: number) => string;
  readonly bridges?: boolean;
  readonly floats?: boolean;
}

const CHARTS: readonly Shown[] = [
  {
    measure: 'rate',
    title: 'Transactions',
    about: 'committed a second, whoever wrote them',
    shown: perSecond,
  },
  { measure: 'lag', title: 'Lag', about: 'entries of the log that are not applied', shown: whole },
  {
    ...{ measure: 'writeMs', title: 'Write time', shown: measured, bridges: true },
    about: 'of library writes, from call to acknowledgement',
  },
  {
    measure: 'seq',
    title: 'Log position',
    about: 'the entry that was read last',
    shown: whole,
    floats: true,
  },
];

const SPANS = [60, 300, 900] as const;
const NAMES: Readonly<Record<number, string>> = { 60: '1 min', 300: '5 min', 900: '15 min' };

export function Charts({ seen, picture }: { readonly seen: Observed; readonly picture: Picture }) {
  const [span, setSpan] = useState<number>(300);
  const ids = picture.members.map(({ id }) => id);
  const choice = (
    <fieldset class="choice">
      <legend class="hidden">How much is shown</legend>
      {SPANS.map((seconds) => (
        <label key={seconds}>
          <input type="radio" name="span" checked={span === seconds} onChange={() => setSpan(seconds)} />
          {NAMES[seconds]}
        </label>
      ))}
    </fieldset>
  );
  return (
    <Panel title="Over time" about="Kept in this page: it begins when the page is opened." actions={choice}>
      <div class="charts">
        {CHARTS.map(({ measure, ...one }) => (
          <OneChart key={measure} seen={seen} ids={ids} measure={measure} span={span} one={one} />
        ))}
      </div>
    </Panel>
  );
}

interface OneProps {
  readonly seen: Observed;
  readonly ids: readonly string[];
  readonly measure: Measure;
  readonly span: number;
  readonly one: Omit<Shown, 'measure'>;
}

function OneChart({ seen: { samples }, ids, measure, span, one }: OneProps) {
  const columns = useMemo(() => columnsOf(samples, ids, measure), [samples, ids.join()]);
  return <Chart {...one} ids={ids} columns={columns} span={span} />;
}
