import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { observed } from '../data/live.js';
import { messageOf } from '../data/request.js';
import { Store, useStore } from '../data/store.js';
import { Prose } from './prose.js';

/** Something that is about to be done to the cluster. */
export interface Question {
  readonly title: string;
  /** Exactly what happens then, a sentence or two each. */
  readonly says: readonly string[];
  /** What is only known once somebody was asked; nobody can act before it is there. */
  readonly prepare?: () => Promise<readonly string[]>;
  /** On the button: what is done. */
  readonly verb: string;
  readonly isDangerous?: boolean;
  /** Returns what has come of it, in a sentence. */
  readonly run: () => Promise<string>;
}

type Progress =
  | { readonly state: 'preparing' }
  | { readonly state: 'asked' }
  | { readonly state: 'running' }
  | { readonly state: 'done'; readonly text: string }
  | { readonly state: 'failed'; readonly text: string };

const asked = new Store<Question | undefined>(undefined);

export function confirm(question: Question): void {
  asked.set(question);
}

/** Stands once in the page, and asks whatever is to be confirmed. */
export function Confirmation() {
  const question = useStore(asked);
  return question === undefined ? null : <Asking question={question} key={question.title} />;
}

function Asking({ question }: { readonly question: Question }) {
  const { title, says, verb, isDangerous = false, run, prepare } = question;
  const [progress, setProgress] = useState<Progress>({ state: prepare ? 'preparing' : 'asked' });
  const [learned, setLearned] = useState<readonly string[]>([]);
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    prepare?.().then(
      (texts) => {
        setLearned(texts);
        setProgress({ state: 'asked' });
      },
      (error: unknown) => setProgress({ state: 'failed', text: messageOf(error) }),
    );
  }, []);
  const close = (): void => dialog.current?.close();
  const act = (): void => {
    setProgress({ state: 'running' });
    run().then(
      (text) => setProgress({ state: 'done', text }),
      (error: unknown) => setProgress({ state: 'failed', text: messageOf(error) }),
    );
  };
  const isOpen = ['preparing', 'asked', 'running'].includes(progress.state);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onClose={() => asked.set(undefined)}
      onCancel={(event) => progress.state === 'running' && event.preventDefault()}
    >
      <h2 id={id}>{title}</h2>
      {[...says, ...learned].map((text) => (
        <p key={text}>
          <Prose text={text} />
        </p>
      ))}
      <div role="status">
        {progress.state === 'preparing' && <p class="loading">Asking the replicas…</p>}
        {progress.state === 'running' && <p class="loading">Working…</p>}
        {progress.state === 'done' && (
          <p class="outcome good">
            <Prose text={progress.text} />
          </p>
        )}
        {progress.state === 'failed' && (
          <p class="outcome bad">
            <Prose text={progress.text} />
          </p>
        )}
      </div>
      <div class="buttons">
        <button type="button" onClick={close} disabled={progress.state === 'running'}>
          {isOpen ? 'Cancel' : 'Close'}
        </button>
        {isOpen && (
          <button
            type="button"
            class={isDangerous ? 'danger' : 'primary'}
            onClick={act}
            disabled={progress.state !== 'asked'}
          >
            {verb}
          </button>
        )}
      </div>
    </dialog>
  );
}

interface ActionProps {
  readonly label: string;
  readonly question: () => Question;
  readonly disabled?: boolean;
}

/** A button that asks before it acts; whoever may not act sees why. */
export function Action({ label, question, disabled = false }: ActionProps) {
  const { picture } = useStore(observed);
  const mayAct = picture?.role === 'admin';
  const why = mayAct ? undefined : 'This needs a token with the role admin.';
  return (
    <button type="button" disabled={disabled || !mayAct} title={why} onClick={() => confirm(question())}>
      {label}
    </button>
  );
}
