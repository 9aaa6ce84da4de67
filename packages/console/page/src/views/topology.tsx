import type { Member, Picture } from '../data/cluster.js';
import { addressOf } from '../data/place.js';
import { conditionOf, endOfLog, isDrained, partOf, syncOf } from '../model/condition.js';
import { counted, lasting, perSecond, whole } from '../model/format.js';
import { type Layout, layoutOf, type PlacedNode } from '../model/layout.js';
import { newestOf, type Samples } from '../model/samples.js';
import { State, Tag } from '../parts/state.js';
import { useWidth } from '../parts/use-width.js';

interface TopologyProps {
  readonly picture: Picture;
  readonly samples: Samples;
}

/** The log as a rail, and every replica on it. */
export function TopologyView({ picture, samples }: TopologyProps) {
  const { ref, width } = useWidth<HTMLDivElement>();
  const others = picture.members.map(({ id }) => id).filter((id) => id !== picture.primary);
  const layout = layoutOf(width, picture.primary, others);
  return (
    <div class={`topology ${layout.direction}`} ref={ref} style={{ height: `${layout.height}px` }}>
      {width > 0 && (
        <>
          <Drawing layout={layout} picture={picture} samples={samples} />
          {layout.nodes.map((node) => (
            <Node key={node.id} node={node} picture={picture} />
          ))}
        </>
      )}
    </div>
  );
}

interface DrawingProps extends TopologyProps {
  readonly layout: Layout;
}

function Drawing({ layout, picture, samples }: DrawingProps) {
  const { width, height, log, nodes, direction } = layout;
  const end = `entry ${whole(endOfLog(picture))}`;
  return (
    <svg width={width} height={height} role="img" aria-label={describe(picture)}>
      <line class="log" {...log} />
      {direction === 'across' ? (
        <>
          <text class="name" x={log.x1} y={log.y1 - 12}>
            log
          </text>
          <text class="name end" x={log.x2} y={log.y1 - 12}>
            {end}
          </text>
        </>
      ) : (
        <text class="name" x={log.x1 + 12} y={14}>
          log, {end}
        </text>
      )}
      {nodes.map((node) => (
        <Link key={node.id} node={node} picture={picture} samples={samples} />
      ))}
    </svg>
  );
}

function Link({ node, picture, samples }: TopologyProps & { readonly node: PlacedNode }) {
  const { id, link, label } = node;
  const member = memberOf(id, picture);
  const { tone } = conditionOf(member, picture.members);
  const isWriter = partOf(member, picture) !== 'replica';
  const rate = newestOf(samples, id, 'rate') ?? 0;
  const flow = rate > 0 ? (isWriter ? 'up' : 'down') : 'still';
  return (
    <g class={`link ${tone}`}>
      <line {...link} />
      {tone !== 'away' && <line class={`flow ${flow}`} {...link} />}
      <circle cx={link.x1} cy={link.y1} r="4.5" />
      <text x={label.x} y={label.y + 4}>
        {linkText(member, rate)}
      </text>
    </g>
  );
}

function linkText({ status }: Member, rate: number): string {
  if (status === undefined) return '';
  const { lag, outbox, role } = status;
  const unsent = outbox.unpublished + outbox.unsealed;
  const texts = [
    rate > 0 ? perSecond(rate) : undefined,
    role !== 'replica' && unsent > 0 ? `${whole(unsent)} unsent` : undefined,
    lag.entries > 0 ? `${whole(lag.entries)} behind` : undefined,
  ].filter((text) => text !== undefined);
  return texts.length > 0 ? texts.join(' · ') : role === 'primary' ? 'all sent' : 'no lag';
}

function Node({ node, picture }: { readonly node: PlacedNode; readonly picture: Picture }) {
  const { id, x, y, width, height } = node;
  const member = memberOf(id, picture);
  const { status } = member;
  const { tone, word } = conditionOf(member, picture.members);
  const part = partOf(member, picture);
  const isInSync = syncOf(picture)?.inSync.includes(id);
  const alarms = status?.alarms.length ?? 0;
  return (
    <a
      class={`node ${part} ${tone}`}
      href={addressOf({ view: 'replica', argument: id })}
      style={{ left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` }}
    >
      <span class="top">
        <strong>{id}</strong>
        <span class="part">{part}</span>
      </span>
      <span class="middle">
        <State tone={tone} word={word} />
        <span class="seq">
          {status === undefined ? lastHeard(id, picture) : `entry ${whole(status.position.seq)}`}
        </span>
      </span>
      <span class="tags">
        {id === picture.seenBy && <Tag tone="accent">this page</Tag>}
        {isInSync === true && <Tag tone="good">in sync</Tag>}
        {isInSync === false && <Tag tone="busy">not in sync</Tag>}
        {isDrained(status) && <Tag tone="busy">drained</Tag>}
        {status !== undefined && status.connection !== 'connected' && <Tag tone="bad">no NATS</Tag>}
        {alarms > 0 && <Tag tone="bad">{counted(alarms, 'alarm')}</Tag>}
        {(status?.rescued ?? 0) > 0 && <Tag tone="busy">{`${status?.rescued} rescued`}</Tag>}
      </span>
    </a>
  );
}

/** As the one says that has heard it last. */
function lastHeard(id: string, { members }: Picture): string {
  const silences = members.flatMap(({ status }) => status?.members ?? []).filter((one) => one.id === id);
  const least = Math.min(...silences.map(({ silentMs }) => silentMs));
  return Number.isFinite(least) ? `heard ${lasting(least)} ago` : 'never heard';
}

function memberOf(id: string, { members }: Picture): Member {
  return members.find((member) => member.id === id) ?? { id };
}

function describe(picture: Picture): string {
  const { members } = picture;
  const parts = members.map((member) => {
    const { word } = conditionOf(member, members);
    const lag =
      member.status === undefined ? '' : `, ${counted(member.status.lag.entries, 'entry', 'entries')} behind`;
    return `${member.id}, ${partOf(member, picture)}: ${word}${lag}`;
  });
  return `The log, and the replicas that read it. ${parts.join('; ')}.`;
}
