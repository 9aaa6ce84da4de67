import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { type Connection, connection, observed } from '../data/live.js';
import { addressOf, place, type Place } from '../data/place.js';
import { keepToken, token } from '../data/session.js';
import { useStore } from '../data/store.js';
import { chooseTheme, theme, THEMES } from '../data/theme.js';
import { timeOfDay } from '../model/format.js';
import type { Observed } from '../model/observe.js';
import { type Verdict, verdictOf } from '../model/verdict.js';
import { Confirmation } from '../parts/confirmation.js';
import { Empty } from '../parts/panel.js';
import { Mark } from '../parts/state.js';
import { ConflictsView } from './conflicts.js';
import { HistoryView } from './history.js';
import { MemberView } from './member.js';
import { Overview } from './overview.js';
import { QuarantineView } from './quarantine.js';
import { QueryView } from './query.js';
import { RescueView } from './rescue.js';
import { Unlock } from './unlock.js';
import { VerifyView } from './verify.js';

interface Entry {
  readonly view: string;
  readonly title: string;
  /** How much there is to look at. */
  readonly count?: (seen: Observed) => number;
}

const sumOf = (name: 'conflicts' | 'rescued' | 'quarantined') => (seen: Observed) =>
  (seen.picture?.members ?? []).reduce((sum, { status }) => sum + (status?.[name] ?? 0), 0);

const ENTRIES: readonly Entry[] = [
  { view: 'overview', title: 'Overview' },
  { view: 'conflicts', title: 'Conflicts', count: sumOf('conflicts') },
  { view: 'rescue', title: 'Rescue ledger', count: sumOf('rescued') },
  { view: 'quarantine', title: 'Quarantine', count: sumOf('quarantined') },
  { view: 'history', title: 'History' },
  { view: 'verify', title: 'Verify' },
  { view: 'query', title: 'Query' },
];

export function Shell() {
  const seen = useStore(observed);
  const link = useStore(connection);
  const { view, argument } = useStore(place);
  const verdict = seen.picture && verdictOf(seen.picture, seen.missed);
  useTitle(verdict, seen);
  useEffect(() => {
    scrollTo(0, 0);
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [view, argument]);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Head seen={seen} link={link} />
      <nav aria-label="Views">
        <ul>
          {ENTRIES.map(({ view: name, title, count }) => (
            <li key={name}>
              <a href={addressOf({ view: name })} aria-current={isHere(view, name) ? 'page' : undefined}>
                {title}
                <Count count={count?.(seen) ?? 0} />
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <Lost link={link} seen={seen} />
      <main id="main" tabIndex={-1} class={link.state === 'lost' ? 'stale' : ''}>
        <Content seen={seen} link={link} view={view} argument={argument} />
      </main>
      <Announcer seen={seen} link={link} />
      <Confirmation />
    </>
  );
}

function isHere(view: string, name: string): boolean {
  return view === name || (view === 'replica' && name === 'overview');
}

function skip(event: Event): void {
  // The address is what says which view is shown.
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function Count({ count }: { readonly count: number }) {
  if (count === 0) return null;
  return (
    <span class="count">
      {count > 999 ? '999+' : count}
      <span class="hidden"> to look at</span>
    </span>
  );
}

function Head({ seen, link }: { readonly seen: Observed; readonly link: Connection }) {
  const { picture } = seen;
  const chosen = useStore(theme);
  const given = useStore(token);
  return (
    <header class="head">
      <a class="brand" href="#/">
        <Logo />
        antiphon
      </a>
      <h1>{picture?.cluster ?? 'console'}</h1>
      <p class="kind">{kindOf(seen)}</p>
      <p class={`connection ${link.state}`}>
        <span class="dot" aria-hidden="true" />
        {link.state === 'live' ? 'live' : link.state === 'lost' ? 'disconnected' : link.state}
        {picture && <span class="through"> through {picture.seenBy}</span>}
      </p>
      <label class="theme">
        <span class="hidden">Colours</span>
        <select
          value={chosen}
          onChange={(event) =>
            chooseTheme(THEMES.find((one) => one === event.currentTarget.value) ?? 'system')
          }
        >
          {THEMES.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {given !== undefined && (
        <button type="button" class="quiet" onClick={() => keepToken(undefined)}>
          Forget the token
        </button>
      )}
    </header>
  );
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" class="logo" aria-hidden="true">
      <path d="M4 16h24M16 10v6M8.5 16v5M23.5 16v5" />
      <circle cx="16" cy="7" r="3.4" />
      <circle cx="8.5" cy="24.5" r="2.8" />
      <circle cx="23.5" cy="24.5" r="2.8" />
    </svg>
  );
}

function kindOf({ picture }: Observed): string {
  const status = picture?.members.find((member) => member.status !== undefined)?.status;
  if (status === undefined) return '';
  const { topology, update } = status;
  const mode = update.mode === 'async' ? 'asynchronous' : `synchronous, acks ${update.acks}`;
  const failover = picture?.failover === undefined ? 'no failover' : `${picture.failover.mode} failover`;
  return topology.mode === 'multi-primary'
    ? `${topology.mode}, ${mode}`
    : `${topology.mode}, ${mode}, ${failover}`;
}

function Lost({ link, seen }: { readonly link: Connection; readonly seen: Observed }) {
  if (link.state !== 'lost') return null;
  const { picture } = seen;
  const who = picture === undefined ? 'The server' : `The server of ${picture.seenBy}`;
  return (
    <div class="banner bad" role="alert">
      <Mark tone="bad" />
      <p>
        <strong>
          {who} has not answered since {timeOfDay(link.sinceMs)}.
        </strong>{' '}
        What is shown is what was seen last. This page tries again every second. Every replica with{' '}
        <code>http:</code> has a console: open that of another one meanwhile.
      </p>
    </div>
  );
}

interface ContentProps {
  readonly seen: Observed;
  readonly link: Connection;
  readonly view: string;
  readonly argument: string | undefined;
}

function Content({ seen, link, view, argument }: ContentProps): ComponentChildren {
  const { picture } = seen;
  if (link.state === 'locked') return <Unlock why={link.why} />;
  if (picture === undefined)
    return link.state === 'lost' ? (
      <Empty title="Nothing has been seen of the cluster yet">
        The page goes on by itself when the server answers.
      </Empty>
    ) : (
      <p class="loading first" role="status">
        <span class="spinner" aria-hidden="true" />
        Asking the replicas…
      </p>
    );
  switch (view) {
    case 'overview':
      return <Overview seen={seen} picture={picture} isLost={link.state === 'lost'} />;
    case 'replica':
      return <MemberView seen={seen} picture={picture} id={argument ?? ''} />;
    case 'conflicts':
      return <ConflictsView picture={picture} />;
    case 'rescue':
      return <RescueView picture={picture} />;
    case 'quarantine':
      return <QuarantineView picture={picture} />;
    case 'history':
      return <HistoryView picture={picture} />;
    case 'verify':
      return <VerifyView />;
    case 'query':
      return <QueryView picture={picture} />;
    default:
      return (
        <Empty title="There is nothing at this address">
          <a href={addressOf({ view: 'overview' } satisfies Place)}>Go to the overview</a>
        </Empty>
      );
  }
}

/** For screen readers: what has changed, in sentences, and nothing that moves all the time. */
function Announcer({ seen, link }: { readonly seen: Observed; readonly link: Connection }) {
  const [newest] = seen.happenings;
  const latest = seen.happenings.filter(({ atMs }) => atMs === newest?.atMs).map(({ text }) => text);
  return (
    <div class="hidden" role="log" aria-live="polite" aria-label="What happens">
      {link.state === 'lost' ? 'The connection is lost.' : latest.join(' ')}
    </div>
  );
}

const SIGNS = { good: '', busy: '• ', bad: '▲ ', away: '' } as const;

function useTitle(verdict: Verdict | undefined, { picture }: Observed): void {
  const text = verdict === undefined ? 'Antiphon' : `${SIGNS[verdict.tone]}${picture?.cluster} · Antiphon`;
  useEffect(() => {
    document.title = text;
  }, [text]);
}
