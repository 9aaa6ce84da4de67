import type { Picture } from '../data/cluster.js';
import { lasting, timeOfDay } from '../model/format.js';
import type { Observed, Takeover } from '../model/observe.js';
import { type Verdict, verdictOf } from '../model/verdict.js';
import { Panel } from '../parts/panel.js';
import { Prose } from '../parts/prose.js';
import { Mark } from '../parts/state.js';
import { Charts } from './charts.js';
import { Members } from './members.js';
import { TopologyView } from './topology.js';

interface OverviewProps {
  readonly seen: Observed;
  readonly picture: Picture;
  /** Nothing new is heard: what was seen last need not be so any more. */
  readonly isLost: boolean;
}

export function Overview({ seen, picture, isLost }: OverviewProps) {
  const last = verdictOf(picture, seen.missed);
  const { tone, headline, detail } = isLost ? notKnown(last, picture) : last;
  return (
    <>
      <section class={`verdict ${tone}`} aria-label="The state of the cluster">
        <Mark tone={tone} />
        <p class="headline">{headline}</p>
        <p class="detail">
          <Prose text={detail} />
        </p>
      </section>
      {seen.takeover && <TakenOver takeover={seen.takeover} atMs={picture.atMs} />}
      <div class="split">
        <Panel title="Topology" about="Every replica reads the one log, in the one order that it has.">
          <TopologyView picture={picture} samples={seen.samples} />
        </Panel>
        <Happenings seen={seen} />
      </div>
      <Panel title="Replicas">
        <Members picture={picture} />
      </Panel>
      <Charts seen={seen} picture={picture} />
    </>
  );
}

function notKnown({ headline, detail }: Verdict, { atMs }: Picture): Verdict {
  const text = `At ${timeOfDay(atMs)} it was: ${headline}. ${detail}`;
  return { tone: 'away', headline: 'How the cluster is, is not known', detail: text };
}

/** For how long a change of the primary stays at the top of the page. */
const SHOWN_MS = 120_000;

function TakenOver({ takeover, atMs }: { readonly takeover: Takeover; readonly atMs: number }) {
  const { from, to, epoch, why, tookMs } = takeover;
  if (atMs - takeover.atMs > SHOWN_MS) return null;
  const gap = tookMs === undefined ? 'without a gap' : `after ${lasting(tookMs)} without a primary`;
  const who = from === to ? `${to} is the primary again` : `${to} is the primary in place of ${from}`;
  return (
    <p class="takeover">
      <time>{timeOfDay(takeover.atMs)}</time>
      <span>
        <strong>{who}</strong>, {gap}: epoch {epoch}, {why}.
      </span>
      <a href="#/history">History</a>
    </p>
  );
}

function Happenings({ seen: { happenings } }: { readonly seen: Observed }) {
  return (
    <Panel title="What happens" about="Since this page was opened." class="happenings">
      {happenings.length === 0 ? (
        <p class="quiet">Nothing has changed yet.</p>
      ) : (
        <ol tabIndex={0} aria-label="What has happened, the newest first">
          {happenings.map(({ atMs, tone, text }, index) => (
            <li key={happenings.length - index}>
              <time>{timeOfDay(atMs)}</time>
              <Mark tone={tone} />
              <span>
                <Prose text={text} />
              </span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
